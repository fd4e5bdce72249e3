//! wget: hyper's client, which is async, in a tasklet; it writes what is at an address to a file or
//! to the standard output, and follows up to ten redirections.
//!
//! Exit status: 0 if all is there; 2 for wrong arguments; 4 if the network or the file fails; 8 if
//! the server refuses. Of what is not there in full no file is left.
//!
//! ```text
//! cargo run --release --example wget -- http://127.0.0.1:7080/index.html [FILE]
//! ```

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, Uri, client::conn::http1, header};
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use tasklets::futures::block_on;
use tasklets::net::TcpStream;
use tasklets::{run, spawn};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (url, file) = (arguments.next().map(|it| it.parse::<Uri>()), arguments.next());
    let Some(Ok(url)) = url else {
        eprintln!("usage: wget http://HOST[:PORT]/PATH [FILE]");
        return ExitCode::from(2);
    };
    let done = run(|| block_on(get(url, file.as_deref())));
    done.map_err(Into::into).flatten().unwrap_or_else(|error| {
        eprintln!("wget: {error}");
        ExitCode::from(4)
    })
}

async fn get(mut url: Uri, file: Option<&str>) -> Outcome<ExitCode> {
    for _ in 0..=10 {
        let response = ask(&url).await?;
        let status = response.status();
        if let (true, Some(to)) =
            (status.is_redirection(), response.headers().get(header::LOCATION))
        {
            url = resolve(&url, to.to_str()?)?;
            continue;
        }
        if !status.is_success() {
            eprintln!("wget: {url}: {status}");
            return Ok(ExitCode::from(8));
        }
        let Some(file) = file else {
            return save(response, io::stdout().lock()).await;
        };
        let saved = save(response, std::fs::File::create(file)?).await;
        return saved.inspect_err(|_| drop(std::fs::remove_file(file)));
    }
    Err(format!("{url}: too many redirections").into())
}

/// The head of what is at `url`; its body is still to come.
async fn ask(url: &Uri) -> Outcome<Response<Incoming>> {
    let (Some("http"), Some(authority)) = (url.scheme_str(), url.authority()) else {
        return Err(format!("{url}: only http is spoken here").into());
    };
    let host = authority.host().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80)));
    let stream = stream.map_err(|it| format!("{authority}: {it}"))?; // waited in this tasklet
    let (mut requests, connection) = http1::handshake(stream).await?;
    spawn(move || block_on(connection)); // what goes wrong there, the response tells
    let path = url.path_and_query().map_or("/", |it| it.as_str());
    let request = Request::get(path).header(header::HOST, authority.as_str());
    Ok(requests.send_request(request.body(Empty::<Bytes>::new())?).await?)
}

async fn save(response: Response<Incoming>, mut to: impl Write) -> Outcome<ExitCode> {
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        if let Ok(bytes) = frame?.into_data() {
            to.write_all(&bytes)?;
        }
    }
    to.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Where `to` leads, seen from `base`.
fn resolve(base: &Uri, to: &str) -> Outcome<Uri> {
    let authority = base.authority().ok_or("an address without host")?;
    let folder = base.path().rsplit_once('/').map_or("", |it| it.0);
    Ok(match to {
        _ if to.contains("://") => to.parse()?,
        _ if to.starts_with("//") => format!("http:{to}").parse()?,
        _ if to.starts_with('/') => format!("http://{authority}{to}").parse()?,
        _ => format!("http://{authority}{folder}/{to}").parse()?,
    })
}
