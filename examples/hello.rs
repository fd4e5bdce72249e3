//! One rendezvous: two tasklets, one channel; a send completes exactly when a receive does.
//!
//! Prints:
//! ```text
//! main: I receive
//! greeter: I send
//! greeter: my send is done, so somebody has the greeting
//! main: I have it: hello
//! ```

use tasklets::{channel, run, spawn};

fn main() {
    run(|| {
        let (tx, rx) = channel();
        let greeter = spawn(move || {
            println!("greeter: I send");
            tx.send("hello").expect("main receives");
            println!("greeter: my send is done, so somebody has the greeting");
        });
        println!("main: I receive");
        let greeting = rx.recv().expect("the greeter sends");
        println!("main: I have it: {greeting}");
        greeter.join().expect("the greeter ends well");
    });
}
