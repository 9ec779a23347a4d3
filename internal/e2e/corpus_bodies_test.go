package e2e

import (
	"fmt"
	"strings"
)

func corpusBindings() []corpusCase {
	const form = "application/x-www-form-urlencoded"
	const good, bad = `{"name":"Ann","age":3,"tags":["a"]}`, `{"name":"A","age":200}`
	cases := corpusGets("/bind/query?name=Ann&age=3&tags=a&tags=b", "/bind/query?name=A", "/bind/query?name=Ann&age=old",
		"/bind/auto?name=Ann", "/bind/auto", "/bind/uri/Ann/3", "/bind/uri/A/3", "/bind/uri/Ann/old",
		"/must/query?name=Ann", "/must/query", "/must/uri/Ann/3", "/must/uri/A/300", "/must/uri-only/Ann/a", "/bind/header", "/must/header")
	return append(cases,
		corpusGet("GET /bind/header", "X-Name: Ann", "X-Age: 3"),
		corpusGet("GET /must/header", "X-Name: Ann", "X-Age: old"),
		corpusPost("/bind/json", "application/json", good),
		corpusPost("/bind/json", "application/json", bad),
		corpusPost("/bind/json", "application/json", `{"name":`),
		corpusPost("/bind/json", "application/json", `{"name":1}`),
		corpusPost("/bind/json", "application/json", ""),
		corpusPost("/bind/xml", "application/xml", "<t><name>Ann</name><age>3</age><tag>a</tag></t>"),
		corpusPost("/bind/xml", "application/xml", "<t><name>Ann</t>"),
		corpusPost("/bind/yaml", "application/yaml", "name: Ann\nage: 3\n"),
		corpusPost("/bind/yaml", "application/yaml", "name: [\n"),
		corpusPost("/bind/toml", "application/toml", "name = 'Ann'\nage = 3\n"),
		corpusPost("/bind/toml", "application/toml", "name = \n"),
		corpusPost("/bind/plain", "text/plain", "some text"),
		corpusPost("/bind/protobuf", "application/x-protobuf", "\n\x06corpus"),
		corpusPost("/bind/protobuf", "application/x-protobuf", "\n\x7fshort"),
		corpusPost("/bind/twice", "application/json", good),
		corpusPost("/bind/auto", "application/json", good, "X-Kind: json"),
		corpusPost("/bind/auto", "application/xml", "<t><name>Ann</name></t>"),
		corpusPost("/bind/auto", form, "name=Ann&age=3"),
		corpusPost("/bind/auto?name=Query", form, "age=3"),
		corpusPost("/bind/auto", "unknown/type", "name=Ann"),
		corpusPost("/must/auto", "application/json", bad),
		corpusPost("/must/auto", form, "name=Ann&age=x"),
		corpusPost("/must/json", "application/json", good),
		corpusPost("/must/json", "application/json", "[]"),
		corpusPost("/form?one=query", form, "one=1&many=a&many=b&map[x]=1&map[y]=2"),
		corpusPost("/form", form, "one=%zz"),
		corpusPost("/form", "text/plain", "one=1"))
}

// corpusMultipart returns a form with two files and a field.
func corpusMultipart(fileSize int) string {
	const head = "--cut\r\nContent-Disposition: form-data; name=\"file\"; filename=\"%s\"\r\nContent-Type: text/plain\r\n\r\n"
	return fmt.Sprintf(head, "../a.txt") + strings.Repeat("a", fileSize) + "\r\n" +
		fmt.Sprintf(head, "b.txt") + "second\r\n" +
		"--cut\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nä text\r\n--cut--\r\n"
}

// corpusChunks sends pieces of a body as chunks, with what follows the last.
func corpusChunks(path, extraHeader string, pieces []string, trailer string) corpusCase {
	c := corpusCase{note: "chunked " + extraHeader}
	var b strings.Builder
	b.WriteString("POST " + path + " HTTP/1.1\r\nHost: all.test\r\nTransfer-Encoding: chunked\r\n" + extraHeader + "\r\n")
	for _, piece := range pieces {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(piece), piece)
	}
	b.WriteString("0\r\n" + trailer + "\r\n")
	c.request = b.String()
	return c
}

func corpusBodies() []corpusCase {
	const multipart = "multipart/form-data; boundary=cut"
	large := strings.Repeat("0123456789abcdef", 1<<17) // 2 MiB
	some := []string{"first ", "second ", strings.Repeat("third ", 1000)}
	echo := corpusPost("/echo", "text/plain", large, "X-Size: 2 MiB")
	upload := corpusPost("/upload", multipart, corpusMultipart(100_000), "X-Size: 100 kB")
	duplex := corpusPost("/duplex", "text/plain", large, "X-Size: 2 MiB")
	echo.framing, upload.framing, duplex.framing = true, true, true

	cases := []corpusCase{
		corpusPost("/raw", "text/plain", "a body"),
		corpusPost("/raw", "text/plain", ""),
		corpusPost("/raw", "text/plain", large, "X-Size: 2 MiB"),
		corpusPost("/echo", "text/plain", "echoed"),
		echo,
		duplex,
		corpusPost("/limited", "text/plain", "within"),
		corpusPost("/limited", "text/plain", "more than ten bytes"),
		corpusPost("/limited", "text/plain", large, "X-Size: 2 MiB"),
		corpusPost("/unread", "text/plain", "nobody reads this"),
		corpusPost("/unread", "text/plain", strings.Repeat("x", 200_000), "X-Size: 200 kB"),
		corpusPost("/upload", multipart, corpusMultipart(10)),
		upload,
		corpusPost("/upload", multipart, "--cut\r\nnonsense"),
		corpusPost("/upload", "text/plain", "not multipart"),
		corpusPost("/upload/stream", multipart, corpusMultipart(10)),
		corpusPost("/upload/stream", "text/plain", "not multipart"),
		corpusPost("/duplex", "text/plain", "both ways"),
		corpusPost("/body", "text/plain", "raw", "Host: raw.test"),
		corpusChunks("/raw", "", some, ""),
		corpusChunks("/raw", "Trailer: X-Sum\r\n", some, "X-Sum: 7\r\n"),
		corpusChunks("/echo", "", some, ""),
		corpusChunks("/about", "", some, ""),
		corpusChunks("/bind/json", "Content-Type: application/json\r\n", []string{`{"name":`, `"Ann"}`}, ""),
		corpusChunks("/upload", "Content-Type: "+multipart+"\r\n", []string{corpusMultipart(10)}, ""),
		corpusChunks("/unread", "", some, ""),
		{note: "a bad chunk", request: "POST /raw HTTP/1.1\r\nHost: all.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n"},
		{note: "length and chunks", request: "POST /raw HTTP/1.1\r\nHost: all.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
		{note: "two lengths", request: "POST /raw HTTP/1.1\r\nHost: all.test\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"},
	}
	for _, path := range []string{"/raw", "/unread", "/bind/json", "/nowhere", "/echo"} {
		c := corpusGet("POST "+path, "Content-Length: 6", "Expect: 100-continue")
		c.then = "a body"
		cases = append(cases, c)
	}
	return append(cases, corpusGet("POST /raw", "Content-Length: 6", "Expect: the unexpected"))
}
