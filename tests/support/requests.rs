//! Requests to the example `httpd`, correct and wrong, each of which ends its connection.

/// What is sent, the status of the answer, and what is in the answer. `|` is the end of a line, `^`
/// the end of the first one and the fields that there are as a rule, `~` the head of a request
/// with a chunked body.
const TABLE: &[(&str, &str, &str)] = &[
    // As it should be.
    ("GET /json ^|", "200", "||{\"message\":\"Hello, World!\"}"),
    ("GET /page.txt HTTP/1.1|hOsT: it:80|connection:  x , CLOSE||", "200", "||0123456789"),
    (
        "||GET /page.txt HTTP/1.1\nHost: it\nConnection: close\n\n",
        "200",
        "text/plain; charset=utf-8",
    ),
    ("HEAD /page.txt ^|", "200", "Content-Length: 10|"),
    ("GET /page.txt HTTP/1.0||", "200", "Connection: close|"),
    ("GET /page.txt HTTP/1.0|Connection: keep-alive||", "200", "Connection: close|"),
    ("GET http://it/page.txt?x=%zz#y ^|", "200", "0123456789"),
    ("GET /%70age.tx%74 HTTP/1.0||", "200", "0123456789"),
    ("GET /sub HTTP/1.0||", "301", "Location: /sub/|"),
    ("GET //sub HTTP/1.0||", "301", "Location: /sub/|"),
    ("GET /sub/ HTTP/1.0||", "200", "<p>sub"),
    ("GET /sub/./../page.txt HTTP/1.0||", "200", "0123456789"),
    ("GET /within HTTP/1.0||", "200", "0123456789"),
    ("GET /a%20b+%C3%A9.html HTTP/1.0||", "200", "spaced"),
    ("GET /%FF.png HTTP/1.0||", "200", "image/png"),
    // Ranges.
    ("GET /page.txt HTTP/1.0|Range: bytes=2-4||", "206", "bytes 2-4/10|"),
    ("GET /page.txt HTTP/1.0|Range: bytes=7-||", "206", "||789"),
    ("GET /page.txt HTTP/1.0|Range: bytes=-3||", "206", "||789"),
    ("GET /page.txt HTTP/1.0|Range: bytes=-99||", "206", "bytes 0-9/10"),
    ("GET /page.txt HTTP/1.0|Range: bytes=8-99999999999999999999999||", "206", "||89"),
    ("GET /page.txt HTTP/1.0|Range: bytes=10-||", "416", "bytes */10"),
    ("GET /page.txt HTTP/1.0|Range: bytes=-0||", "416", "bytes */10"),
    ("GET /page.txt HTTP/1.0|Range: bytes=4-2||", "200", "0123456789"),
    ("GET /page.txt HTTP/1.0|Range: bytes=1-2,4-5||", "200", "0123456789"),
    ("GET /page.txt HTTP/1.0|Range: lines=1-2||", "200", "0123456789"),
    ("GET /page.txt HTTP/1.0|Range: bytes=+1-2||", "200", "0123456789"),
    ("GET /page.txt HTTP/1.0|Range: bytes=1-2|If-Range: another||", "200", "0123456789"),
    // Dates.
    (
        "GET /page.txt HTTP/1.0|If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT||",
        "304",
        "Last-Modified: ",
    ),
    (
        "GET /page.txt HTTP/1.0|If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT||",
        "200",
        "0123456789",
    ),
    ("GET /page.txt HTTP/1.0|If-Modified-Since: yesterday||", "200", "0123456789"),
    // Bodies.
    (
        "POST /echo HTTP/1.0|Content-Length: 3||abc",
        "200",
        "Content-Length: 3|Connection: close||abc",
    ),
    (
        "POST /echo ^Transfer-Encoding: Chunked||3|abc|A;x=y|0123456789|0|X: y||",
        "200",
        "||abc0123456789",
    ),
    ("POST /echo ^Expect: 100-Continue|Content-Length: 3||abc", "200", "||abc"),
    ("POST /echo HTTP/1.0||", "200", "Content-Length: 0"),
    // What is not there, and what is not done.
    ("GET / HTTP/1.0||", "404", "Not Found"),
    ("GET /nothing HTTP/1.0||", "404", ""),
    ("GET /page.txt/ HTTP/1.0||", "404", ""),
    ("GET /loop HTTP/1.0||", "404", ""),
    ("POST /page.txt HTTP/1.0||", "405", "Allow: GET, HEAD"),
    ("GET /echo HTTP/1.0||", "405", "Allow: POST"),
    ("DELETE /page.txt HTTP/1.0||", "501", ""),
    ("get /page.txt HTTP/1.0||", "501", ""),
    ("GET /page.txt HTTP/2.0||", "505", ""),
    // What is wrong.
    ("G\u{e9}T /page.txt HTTP/1.0||", "400", ""),
    ("GET /page.txt||", "400", ""),
    ("\u{16}\u{3}\u{1}\u{2}\n", "400", ""),
    ("GET page.txt HTTP/1.0||", "400", ""),
    ("GET http://it HTTP/1.0||", "400", ""),
    ("GET /%zz HTTP/1.0||", "400", ""),
    ("GET /%f HTTP/1.0||", "400", ""),
    ("GET /page.txt%00.html HTTP/1.0||", "400", ""),
    ("GET /page.txt HTTP/1.1||", "400", ""),
    ("GET /page.txt HTTP/1.1|Host: it|Host: it||", "400", ""),
    ("GET /page.txt HTTP/1.1|Host: i t||", "400", ""),
    ("GET /page.txt HTTP/1.1|Host : it||", "400", ""),
    ("GET /page.txt HTTP/1.1|Host: it| folded: x||", "400", ""),
    ("GET /json HTTP/1.1|Host: it|Expect: miracles||", "417", ""),
    ("POST /echo HTTP/1.0|Content-Length: +3||abc", "400", ""),
    ("POST /echo HTTP/1.0|Content-Length: ||", "400", ""),
    ("POST /echo HTTP/1.0|Content-Length: 3|Content-Length: 3||abc", "400", ""),
    ("POST /echo HTTP/1.0|Content-Length: 1048577||", "413", ""),
    ("POST /echo HTTP/1.0|Content-Length: 99999999999999999999999||", "413", ""),
    ("POST /echo HTTP/1.0|Transfer-Encoding: chunked||0||", "400", ""),
    ("POST /echo HTTP/1.1|Host: it|Transfer-Encoding: gzip, chunked||", "501", ""),
    ("POST /echo HTTP/1.1|Host: it|Transfer-Encoding: chunked|Content-Length: 3||0||", "400", ""),
    ("~x|", "400", ""),
    ("~-3|abc|", "400", ""),
    ("~3|abcd|", "400", ""),
    ("~fffffffffffffffff|", "400", ""),
    ("~7fffffffffffffff|", "413", ""),
    ("~1|a|0|no field||", "400", ""),
    ("~3;x\ny|abc|0||", "400", ""),
];

const USUAL: &str = "HTTP/1.1|Host: it|Connection: close|";
const CHUNKED: &str = "POST /echo HTTP/1.1|Host: it|Transfer-Encoding: chunked||";

/// What is sent, the status of the answer, and what is in the answer.
pub fn requests() -> impl Iterator<Item = (String, &'static str, String)> {
    let written = |text: &str| text.replace('^', USUAL).replace('~', CHUNKED).replace('|', "\r\n");
    TABLE.iter().map(move |(request, status, part)| (written(request), *status, written(part)))
}
