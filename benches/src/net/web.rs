//! The web servers: the example `httpd` and the peers' hello.

use std::net::TcpListener;
use std::time::Duration;

#[path = "../../../examples/httpd/main.rs"]
#[allow(dead_code, reason = "it has a `main` of its own")]
mod httpd;

const HELLO: &str = r#"{"message":"Hello, World!"}"#;

pub fn tasklets(listener: TcpListener) {
    tasklets::run(|| {
        let listener = tasklets::net::TcpListener::from_std(listener)?;
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        httpd::serve(&listener, here, Duration::from_secs(10))
    })
    .expect("it can serve here");
}

pub fn may(listener: TcpListener) {
    use may_minihttp::{HttpServer, HttpService, Request, Response};

    #[derive(Clone)]
    struct Hello;

    impl HttpService for Hello {
        fn call(&mut self, _: Request, answer: &mut Response) -> std::io::Result<()> {
            answer.header("Content-Type: application/json").body(HELLO);
            Ok(())
        }
    }

    may::config().set_workers(1);
    let address = listener.local_addr().expect("it is bound");
    drop(listener); // it makes its own
    let server = HttpServer(Hello).start(address).expect("the port is free again");
    server.join().expect("it does not panic");
}

pub fn hyper(listener: TcpListener) {
    use http_body_util::Full;
    use hyper::body::{Bytes, Incoming};
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper::{Request, Response};

    async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let body = Full::new(Bytes::from_static(HELLO.as_bytes()));
        let mut answer = Response::new(body);
        let kind = hyper::header::HeaderValue::from_static("application/json");
        answer.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
        Ok(answer)
    }

    listener.set_nonblocking(true).expect("a listener need not block");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    runtime.expect("the OS has a queue").block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).expect("it does not block");
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).expect("TCP has this option");
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(http1::Builder::new().serve_connection(io, service_fn(hello)));
        }
    });
}
