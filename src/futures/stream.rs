//! Our streams as futures-io and hyper see them.
//!
//! Always: a poll attempts first; it never waits, but gives way when its tasklet has had its share.

use crate::kernel::source::Side;
use crate::net::{Shutdown, TcpStream, UnixStream};
use futures_io::{AsyncRead, AsyncWrite};
use std::io::{self, IoSlice, Read, Write};
#[cfg(feature = "hyper")]
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A stream for `async` code: futures-io's `AsyncRead` and `AsyncWrite`.
///
/// Around a [`TcpStream`] or [`UnixStream`], or a reference to one, so that two futures may read
/// and write it at the same time. The streams have these traits only in here: otherwise each of
/// their methods would be there twice where std's traits are in use, too.
///
/// ```
/// use futures_util::{AsyncReadExt, AsyncWriteExt};
/// use tasklets::futures::{Async, block_on};
/// use tasklets::net::UnixStream;
/// use tasklets::run;
/// run(|| {
///     let (near, far) = UnixStream::pair().unwrap();
///     let mut text = String::new();
///     let talk = async {
///         let mut writer = Async(near);
///         writer.write_all(b"polled").await?;
///         writer.close().await?;
///         Async(&far).read_to_string(&mut text).await
///     };
///     assert_eq!(block_on(talk).unwrap().unwrap(), 6);
///     assert_eq!(text, "polled");
/// });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Async<S>(
    /// The stream.
    pub S,
);

/// Most bytes that are read for hyper at a time: without `unsafe` they go into its buffer by way of
/// one on the stack.
#[cfg(feature = "hyper")]
const PIECE: usize = 8 * 1_024;

macro_rules! implement {
    ($type:ty) => {
        impl AsyncRead for Async<$type> {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.0.poll_in(context, buffer)
            }
        }

        impl AsyncWrite for Async<$type> {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.0.poll_out(context, &[IoSlice::new(buffer)])
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffers: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.0.poll_out(context, buffers)
            }

            /// Does nothing: nothing is held back.
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            /// Ends writing.
            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.0.shutdown(Shutdown::Write))
            }
        }
    };
}

macro_rules! streams {
    ($($name:ident)*) => {$(
        impl $name {
            fn poll_in(
                &self,
                context: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                let (side, want) = (Side::Read, buffer.len());
                self.socket.descriptor.poll_transfer(side, context, want, |mut it| it.read(buffer))
            }

            fn poll_out(
                &self,
                context: &mut Context<'_>,
                buffers: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                let (side, want) = (Side::Write, buffers.iter().map(|it| it.len()).sum());
                let it = &self.socket.descriptor;
                it.poll_transfer(side, context, want, |mut it| it.write_vectored(buffers))
            }
        }

        implement!($name);
        implement!(&$name);

        #[cfg(feature = "hyper")]
        impl ::hyper::rt::Read for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                mut buffer: ::hyper::rt::ReadBufCursor<'_>,
            ) -> Poll<io::Result<()>> {
                let mut bytes = [MaybeUninit::uninit(); PIECE];
                let want = PIECE.min(buffer.remaining());
                let descriptor = &self.socket.descriptor;
                let went = descriptor.poll_transfer(Side::Read, context, want, |it| {
                    let (read, _) = rustix::io::read(it, &mut bytes[..want])?;
                    buffer.put_slice(read);
                    Ok(read.len())
                });
                went.map_ok(drop)
            }
        }

        #[cfg(feature = "hyper")]
        impl ::hyper::rt::Write for $name {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.poll_out(context, &[IoSlice::new(buffer)])
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.shutdown(Shutdown::Write))
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffers: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.poll_out(context, buffers)
            }
        }
    )*};
}

streams! { TcpStream UnixStream }
