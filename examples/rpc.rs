//! A library that exports an operation of its own: a call that can be an arm of `select!`.
//!
//! `call` is Concurrent ML's: sending the request is what commits, and receiving the answer is
//! wrapped around it. So a call that loses a select has had no effect: the server never saw it.
//! Prints:
//! ```text
//! 6 * 7 = 42
//! busy: nothing was asked
//! the server answered 2 calls
//! ```

mod multiplier {
    use std::time::Duration;
    use tasklets::{Halt, Operation, Sender, Tasklet, channel, sleep, spawn};

    type Request = ((u32, u32), Sender<u32>);

    pub struct Client(Sender<Request>);

    /// Starts a server; it ends, and tells how many calls it answered, when its client is dropped.
    pub fn start() -> (Client, Tasklet<u32>) {
        let (client, requests) = channel::<Request>();
        let server = spawn(move || {
            let mut answered = 0;
            for ((left, right), reply) in requests {
                answered += u32::from(reply.send(left * right).is_ok());
                sleep(Duration::from_secs(60)).expect("nobody stops it while it recovers");
            }
            answered
        });
        (Client(client), server)
    }

    impl Client {
        /// The operation of asking for a product; it happens when the server takes the request.
        pub fn call(&self, left: u32, right: u32) -> impl Operation<Output = Result<u32, Halt>> {
            let (reply, answer) = channel();
            let asking = self.0.sending(((left, right), reply));
            asking.map(move |asked| asked.map_err(Halt::from).and_then(|()| answer.recv()))
        }
    }
}

use std::time::Duration;
use tasklets::{Operation, RunError, Runtime, after, select};

fn main() -> Result<(), RunError> {
    Runtime::builder().virtual_clock(true).build().run(|| {
        let (client, server) = multiplier::start();
        println!("6 * 7 = {}", client.call(6, 7).wait().expect("the server is there"));
        select! {
            op(client.call(2, 2)) -> answer => println!("2 * 2 = {answer:?}"),
            op(after(Duration::from_secs(1))) -> _ => println!("busy: nothing was asked"),
        }
        client.call(1, 1).wait().expect("the server has recovered");
        drop(client);
        println!("the server answered {} calls", server.join().expect("it does not panic"));
    })
}
