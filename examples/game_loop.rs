//! Embedding: a host that has a loop of its own runs the tasklets a bit in every frame.
//!
//! Scripts wait for the next frame by receiving it. Between frames no tasklet runs, so the host
//! gives the frame to exactly those who wait, and `run_ready` comes back when all wait again.
//! Prints:
//! ```text
//! frame 1: knight 1, snail 0
//! frame 2: knight 2, snail 0
//! frame 3: knight 3, snail 1
//! frame 4: knight 3, snail 1
//! frame 5: knight 3, snail 1
//! frame 6: knight 3, snail 2
//! ```

use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;
use tasklets::{Halt, Receiver, Runtime, channel};

/// Waits for `count` frames.
fn wait_frames(frames: &Receiver<u32>, count: u32) -> Result<(), Halt> {
    (0..count).try_for_each(|_| frames.recv().map(drop))
}

/// Goes `steps` steps, one every `pace` frames.
fn walk(place: &Cell<u32>, steps: u32, pace: u32, frames: &Receiver<u32>) -> Result<(), Halt> {
    for _ in 0..steps {
        wait_frames(frames, pace)?;
        place.set(place.get() + 1);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let game = Runtime::builder().build();
    let (next_frame, frames) = channel();
    let places = [("knight", 3, 1), ("snail", 2, 3)].map(|(name, steps, pace)| {
        let place = Rc::new(Cell::new(0));
        let (mine, frames) = (place.clone(), frames.clone());
        game.spawn(move || walk(&mine, steps, pace, &frames)).map(|_| (name, place))
    });
    let places = places.into_iter().collect::<Result<Vec<_>, _>>()?;
    game.run_ready()?; // to the first frame
    for frame in 1..=6 {
        for _ in 0..next_frame.balance().unsigned_abs() {
            next_frame.try_send(frame)?;
        }
        game.run_ready()?;
        let scene: Vec<_> = places.iter().map(|(it, at)| format!("{it} {}", at.get())).collect();
        println!("frame {frame}: {}", scene.join(", "));
    }
    Ok(())
}
