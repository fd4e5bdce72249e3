//! wget: hyper's client, which is async, in a tasklet; it writes what is at an address to a file or
//! to the standard output, and follows up to ten redirections. HTTPS is rustls over its socket.
//!
//! Exit status: 0 if all is there; 2 for wrong arguments; 4 if the network or the file fails; 8 if
//! the server refuses. Of what is not there in full no file is left. Whose certificates are trusted
//! says the file `$SSL_CERT_FILE`.
//!
//! ```text
//! cargo run --release --example wget -- http://127.0.0.1:7080/index.html [FILE]
//! ```

use futures_util::io::{AsyncRead, AsyncWrite};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{self, ReadBufCursor};
use hyper::{Request, Response, Uri, client::conn::http1, header};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};
use std::error::Error;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll};
use tasklets::futures::{Async, block_on};
use tasklets::net::TcpStream;
use tasklets::{run, spawn};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Where the certificates are that are trusted, unless the environment says.
const TRUSTED: &str = "/etc/ssl/certs/ca-certificates.crt";

fn main() -> ExitCode {
    let mut given = std::env::args_os().skip(1);
    let url = given.next().and_then(|it| it.to_str()?.parse().ok()).filter(is_web);
    let (file, more) = (given.next(), given.next());
    let (Some(url), None) = (url, more) else {
        eprintln!("usage: wget http[s]://HOST[:PORT]/PATH [FILE]");
        return ExitCode::from(2);
    };
    let done = run(|| block_on(get(url, file.as_deref())));
    done.map_err(Into::into).flatten().unwrap_or_else(|error| {
        eprintln!("wget: {error}");
        ExitCode::from(4)
    })
}

/// Whether it is an address that this program can ask.
fn is_web(url: &Uri) -> bool {
    matches!(url.scheme_str(), Some("http" | "https")) && url.authority().is_some()
}

async fn get(mut url: Uri, file: Option<&OsStr>) -> Outcome<ExitCode> {
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
        let is_file = std::fs::metadata(file).is_ok_and(|it| it.is_file()); // no terminal, no pipe
        return saved.inspect_err(|_| drop(is_file.then(|| std::fs::remove_file(file))));
    }
    Err(format!("{url}: too many redirections").into())
}

/// The head of what is at `url`; its body is still to come.
async fn ask(url: &Uri) -> Outcome<Response<Incoming>> {
    let (true, Some(authority)) = (is_web(url), url.authority()) else {
        return Err(format!("{url}: only http and https are spoken here").into());
    };
    let host = authority.host().trim_matches(['[', ']']);
    let secret = url.scheme_str() == Some("https");
    let port = authority.port_u16().unwrap_or(if secret { 443 } else { 80 });
    let socket = TcpStream::connect((host, port)); // waited in this tasklet
    let socket = socket.map_err(|it| format!("{authority}: {it}"))?;
    let named = authority.as_str().rsplit('@').next().unwrap_or_default(); // without a user
    let path = url.path_and_query().map_or("/", |it| it.as_str());
    let request = Request::get(path).header(header::HOST, named).body(Empty::new())?;
    if secret {
        let name = ServerName::try_from(host.to_owned())?;
        let session = ClientConnection::new(Arc::new(trusting()?), name)?;
        exchange(Tls { session, socket: Async(socket) }, request).await
    } else {
        exchange(socket, request).await
    }
}

async fn exchange(
    stream: impl rt::Read + rt::Write + Unpin + 'static,
    request: Request<Empty<Bytes>>,
) -> Outcome<Response<Incoming>> {
    let (mut requests, connection) = http1::handshake(stream).await?;
    spawn(move || block_on(connection)); // what goes wrong there, the response tells
    requests.send_request(request).await.map_err(|it| {
        let (mut text, mut source) = (it.to_string(), it.source());
        while let Some(why) = source {
            text += &format!(": {why}");
            source = why.source();
        }
        text.into()
    })
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
    let (Some(scheme), Some(authority)) = (base.scheme_str(), base.authority()) else {
        return Err("an address without host".into());
    };
    let folder = base.path().rsplit_once('/').map_or("", |it| it.0);
    let before_query = to.split(['?', '#']).next().unwrap_or_default();
    Ok(match to {
        _ if before_query.contains("://") => to.parse()?,
        _ if to.starts_with("//") => format!("{scheme}:{to}").parse()?,
        _ if to.starts_with('/') => format!("{scheme}://{authority}{to}").parse()?,
        _ if before_query.is_empty() => {
            format!("{scheme}://{authority}{}{to}", base.path()).parse()?
        }
        _ => format!("{scheme}://{authority}{folder}/{to}").parse()?,
    })
}

fn trusting() -> Outcome<ClientConfig> {
    let file = std::env::var_os("SSL_CERT_FILE").unwrap_or_else(|| TRUSTED.into());
    let mut roots = RootCertStore::empty();
    let all = CertificateDer::pem_file_iter(&file).map_err(|it| format!("{file:?}: {it}"))?;
    roots.add_parsable_certificates(all.filter_map(Result::ok));
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// What rustls makes of a socket, for hyper.
struct Tls {
    session: ClientConnection,
    socket: Async<TcpStream>,
}

/// A socket that is polled, for who reads and writes: what is pending would have to wait.
struct Polled<'a, 'b>(&'a mut Async<TcpStream>, &'a mut Context<'b>);

impl Tls {
    /// Has rustls do what it can, until it would have to wait.
    fn poll<R>(
        &mut self,
        context: &mut Context<'_>,
        what: impl FnOnce(&mut Stream<'_, ClientConnection, Polled<'_, '_>>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let mut polled = Polled(&mut self.socket, context);
        match what(&mut Stream::new(&mut self.session, &mut polled)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            done => Poll::Ready(done),
        }
    }
}

/// What came of polling, for who does not.
fn now<R>(polled: Poll<io::Result<R>>) -> io::Result<R> {
    match polled {
        Poll::Ready(done) => done,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl Read for Polled<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        now(Pin::new(&mut *self.0).poll_read(self.1, buffer))
    }
}

impl Write for Polled<'_, '_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        now(Pin::new(&mut *self.0).poll_write(self.1, buffer))
    }
    fn flush(&mut self) -> io::Result<()> {
        now(Pin::new(&mut *self.0).poll_flush(self.1))
    }
}

impl rt::Read for Tls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut to: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut some = [0; 4_096];
        let room = to.remaining().min(some.len());
        let read = self.poll(context, |it| it.read(&mut some[..room]));
        read.map_ok(|count| to.put_slice(&some[..count]))
    }
}

impl rt::Write for Tls {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(context, |it| it.write(data))
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(context, |it| it.flush())
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.send_close_notify();
        match self.poll(context, |it| it.flush()) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.socket).poll_close(context),
            other => other,
        }
    }
}
