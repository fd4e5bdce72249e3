//! Values out of nested calls, as iterators; and a callback turned into straight-line code.
//!
//! A tasklet has a stack of its own, so it can give a value from any depth of calls and go on from
//! there. Prints:
//! ```text
//! in order: [1, 2, 3, 4, 5, 6]
//! the first above 3: Some(4)
//! words: ["who", "calls", "whom"]
//! ```

use tasklets::{Receiver, SendError, Sender, channel, run, spawn};

/// An iterator over what `body` sends.
fn generator<T: 'static>(
    body: impl FnOnce(Sender<T>) -> Result<(), SendError<T>> + 'static,
) -> impl Iterator<Item = T> {
    let (tx, rx) = channel();
    spawn(move || body(tx));
    rx.into_iter()
}

struct Tree(i32, Vec<Tree>, Vec<Tree>);

/// Sends the numbers of `tree` in order, from as deep in the recursion as they are.
fn walk(tree: &Tree, out: &Sender<i32>) -> Result<(), SendError<i32>> {
    tree.1.iter().try_for_each(|it| walk(it, out))?;
    out.send(tree.0)?; // fails when nobody reads on: then the whole walk ends
    tree.2.iter().try_for_each(|it| walk(it, out))
}

fn tree() -> Tree {
    let leaf = |value| vec![Tree(value, vec![], vec![])];
    Tree(4, vec![Tree(2, leaf(1), leaf(3))], vec![Tree(5, vec![], leaf(6))])
}

fn numbers() -> impl Iterator<Item = i32> {
    generator(|out| walk(&tree(), &out))
}

/// A library that calls back for every key, such as a user interface.
fn each_key(mut on_key: impl FnMut(char)) {
    "who calls whom\n".chars().for_each(&mut on_key);
}

/// Straight-line code that wants a key when it wants one.
fn read_word(keys: &Receiver<char>) -> String {
    keys.iter().take_while(|it| it.is_alphabetic()).collect()
}

fn main() {
    run(|| {
        println!("in order: {:?}", numbers().collect::<Vec<_>>());
        println!("the first above 3: {:?}", numbers().find(|it| *it > 3));
        let (tx, keys) = channel();
        spawn(move || each_key(|key| tx.send(key).expect("main reads on")));
        println!("words: {:?}", [(); 3].map(|()| read_word(&keys)));
    });
}
