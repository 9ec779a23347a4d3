package e2e

import "strings"

// corpusCases are the requests of TestGinAnswersTheSameInsideCaddy.
func corpusCases() []corpusCase {
	var all []corpusCase
	for _, some := range [][]corpusCase{
		corpusRendering(), corpusConditions(), corpusRouting(), corpusMiddleware(),
		corpusBindings(), corpusBodies(), corpusWriting(), corpusWrapped(), corpusWire(),
	} {
		all = append(all, some...)
	}
	return all
}

// corpusGets returns a case for each path.
func corpusGets(paths ...string) (cases []corpusCase) {
	for _, path := range paths {
		cases = append(cases, corpusGet("GET "+path))
	}
	return cases
}

func corpusRendering() []corpusCase {
	cases := corpusGets("/json", "/indented", "/secure", "/jsonp", "/jsonp?callback=f%3Cx%3E", "/ascii", "/pure",
		"/xml", "/yaml", "/toml", "/protobuf", "/bson", "/string", "/html", "/data", "/data/none",
		"/file", "/file/large", "/file/missing", "/attachment", "/fromfs", "/fromfs/dir",
		"/negotiate", "/reader", "/reader/short",
		"/redirect/301", "/redirect/302", "/redirect/303", "/redirect/307", "/redirect/308", "/redirect/201", "/redirect-elsewhere",
		"/status/201", "/status/204", "/status/204/json", "/status/304", "/status/418", "/status/599", "/nothing",
		"/cookies", "/headers", "/sniffed")
	for _, accept := range []string{"application/xml", "application/yaml", "text/html", "application/toml",
		"text/*", "image/png", "application/json;q=0.5, text/html"} {
		cases = append(cases, corpusGet("GET /negotiate", "Accept: "+accept))
	}
	for _, path := range []string{"/json", "/file", "/string", "/nothing", "/reader", "/sniffed", "/fromfs", "/data", "/redirect"} {
		cases = append(cases, corpusGet("HEAD "+path))
	}
	unknown := corpusGet("GET /reader/unknown")
	unknown.framing = true
	return append(cases, unknown,
		corpusGet("OPTIONS /json"),
		corpusGet("GET /cookies", "Cookie: session=s%20t; other=1"))
}

func corpusConditions() []corpusCase {
	const modified, before = "Tue, 14 Nov 2023 22:13:20 GMT", "Mon, 13 Nov 2023 22:13:20 GMT"
	var cases []corpusCase
	for _, header := range [][]string{
		{"If-Modified-Since: " + modified}, {"If-Modified-Since: " + before}, {"If-Modified-Since: nonsense"},
		{"If-Unmodified-Since: " + before}, {"If-Unmodified-Since: " + modified},
		{"Range: bytes=0-3"}, {"Range: bytes=5-"}, {"Range: bytes=-4"}, {"Range: bytes=0-1,4-5"},
		{"Range: bytes=1000-"}, {"Range: nonsense"}, {"Range: bytes=0-3", "If-Range: " + before},
	} {
		for _, path := range []string{"/file", "/static/page.html", "/files/page.html"} {
			cases = append(cases, corpusGet("GET "+path, header...))
		}
	}
	return append(cases,
		corpusGet("GET /wrap/content", `If-None-Match: "v1"`),
		corpusGet("GET /wrap/content", `If-None-Match: W/"v1", "v0"`),
		corpusGet("GET /wrap/content", `If-Match: "v0"`),
		corpusGet("GET /wrap/content", `If-Range: "v1"`, "Range: bytes=2-4"),
		corpusGet("HEAD /wrap/content", "Range: bytes=2-4"),
		corpusGet("GET /file/large", "Range: bytes=100-200000"),
		corpusGet("HEAD /file/large"))
}

func corpusRouting() []corpusCase {
	cases := corpusGets("/about", "/about/1/two/", "/about/1/two/x/y%2Fz?q=%20&r=+", "/about/%C3%A4/two/%20", "/users/7", "/users/me",
		"/users/", "/users", "/nowhere", "/json/", "//json", "/./json", "/a/../json", "/JSON", "/%6Ason",
		"/query?one=1&many=a&many=b&map[x]=1&map[y]=2", "/query?one=%zz", "/query?one=a;b", "/query", "/nobody", "/about?", "/about?%61=%62#f")
	for _, target := range []string{"POST /json", "PUT /nowhere", "DELETE /about", "HEAD /indented", "PATCH /json", "OPTIONS /about",
		"PROPFIND /json", "TRACE /json", "get /json"} {
		cases = append(cases, corpusGet(target))
	}
	for _, target := range []string{"GET /", "HEAD /", "GET /plain", "GET /plain/", "GET /slash", "GET /slash?q=1", "POST /slash",
		"GET /any", "PUT /any", "CONNECT /any", "TRACE /any", "PROPFIND /match", "POST /match", "GET /wild", "GET /wild/", "GET /wild/a/b",
		"GET /users/a%2Fb", "GET /users/a+b", "GET /users/%2e%2e", "GET /colon:literal", "GET /nowhere", "POST /plain", "HEAD /plain",
		"GET /panic", "GET /..%2f..", "GET //plain", "GET /slash//"} {
		cases = append(cases, corpusGet(target, "Host: bare.test"))
	}
	for _, target := range []string{"GET /template", "GET /users/a%2Fb/c%2Fd", "GET /users/a%20b/c", "GET /users//x", "GET //template",
		"GET /fixed/path", "GET /FIXED/PATH/", "POST /fixed/path", "GET /only", "OPTIONS /only", "DELETE /only", "GET /nowhere",
		"GET /a/../template"} {
		cases = append(cases, corpusGet(target, "Host: raw.test"))
	}
	return append(cases,
		corpusGet("GET /about", "X-Mine: 1", "X-Mine: 2", "x-lower: case", "Accept-Encoding: gzip", "Cookie: a=b", "Cookie: c=d"),
		corpusGet("GET /about", "Upgrade: websocket", "Connection: upgrade"),
		corpusGet("GET http://all.test/about?absolute=1"),
		corpusPost("/about", "text/plain; charset=utf-8", "a body"))
}

func corpusMiddleware() []corpusCase {
	return append(corpusGets("/group/before", "/group/after", "/group/inner/x", "/group/abort",
		"/abort/json", "/abort/pure", "/abort/status", "/abort/error", "/auth/x",
		"/errors/one", "/errors/two", "/errors/abort",
		"/recovery/panic", "/recovery/redirect", "/recovery/late", "/recovery/default",
		"/seen/json", "/seen/status", "/seen/nothing", "/seen/error", "/seen/written",
		"/again", "/again/written", "/again/nowhere", "/copy/5", "/wrapped", "/context"),
		corpusGet("GET /auth/x", "Authorization: Basic dXNlcjpzZWNyZXQ="),
		corpusGet("GET /auth/x", "Authorization: Basic nonsense"))
}

func corpusWriting() []corpusCase {
	cases := append(corpusGets("/stream", "/events", "/event", "/flush", "/flush/first", "/trailers", "/large/pieces",
		"/length", "/twice", "/close", "/date", "/controller", "/hijack", "/hijack/late", "/break"),
		corpusGet("HEAD /stream"),
		corpusCase{request: "GET /stream HTTP/1.0\r\nHost: all.test\r\n\r\n", note: "HTTP 1.0"},
		corpusCase{request: "GET /string HTTP/1.0\r\nHost: all.test\r\nConnection: keep-alive\r\n\r\n", note: "HTTP 1.0 kept alive"})
	large, broken := corpusGet("GET /large"), corpusGet("GET /break/first")
	large.framing, broken.silent = true, true
	return append(cases, large, broken)
}

func corpusWrapped() []corpusCase {
	pieces := corpusGet("GET /proxy/pieces")
	pieces.framing = true
	return append(corpusGets("/static/page.html", "/static/", "/static", "/static/sub", "/static/sub/", "/static/sub/index.html",
		"/static/missing", "/static/..%2fpage.html", "/static/other/", "/listed/", "/listed/a%20b.txt", "/static-file", "/static-file-fs",
		"/files/", "/files/sub", "/files/sub/a%20b.txt", "/files/other/", "/files/missing",
		"/wrap/error", "/wrap/redirect", "/wrap/notfound", "/wrap/content", "/wrap/timeout", "/wrap/flusher",
		"/mux/7", "/mux/", "/proxy/path?q=1", "/proxy/hints", "/proxy/trailer", "/proxy/gone"),
		pieces,
		corpusGet("HEAD /static/page.html"),
		corpusGet("POST /static/page.html"),
		corpusGet("HEAD /static-file"),
		corpusGet("POST /mux/7"),
		corpusGet("HEAD /proxy/path", "X-Mine: yes"),
		corpusPost("/proxy/post", "text/plain", "proxied"),
		corpusPost("/wrap/max", "text/plain", "1234567"),
		corpusPost("/wrap/max", "text/plain", "123"))
}

// corpusWire has what net/http decides before any app does.
func corpusWire() []corpusCase {
	return []corpusCase{
		corpusGet("OPTIONS *"),
		{request: "GET /json HTTP/1.1\r\n\r\n", note: "without a host"},
		{request: "GET /json HTTP/3.7\r\nHost: all.test\r\n\r\n", note: "of an unknown version"},
		{request: "nonsense that is long enough to be no HTTP/2\r\n\r\n"},
		corpusGet("GET /json", "Bad Name: x"),
		corpusGet("GET /json", "X-Large: "+strings.Repeat("x", 2<<20)),
		corpusGet("GET /json", "Connection: close"),
		corpusGet("GET /%"),
	}
}
