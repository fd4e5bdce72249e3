//! A soak: servers, clients and children that do each other every harm at random, for some rounds,
//! or as many seconds as `TASKLETS_SOAK_SECONDS` says; afterwards nothing may be left over.

mod support;

use socket2::SockRef;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use support::{Isolation, status_kib};
use tasklets::net::{Serve, Shutdown, TcpStream, listen};
use tasklets::process::{Command, Stdio};
use tasklets::{Never, Runtime, Tasklet, channel, now, pause, sleep, spawn, within, yield_now};

/// Rounds of a plain test run.
const ROUNDS: u32 = 60;

/// Looks at what is open until it is a leak: far more than the last children need to end.
const LOOKS: u32 = 20_000;

/// What the allocator may keep more after the first quarter, in which all sizes come up. It differs
/// by 200 KiB from one round to the next.
const GROWTH_KIB: usize = 512;

/// More than sockets hold. Not allocated: when the allocator gives that much back is up to it.
static LOT: [u8; 8 << 20] = [0; 8 << 20];

/// Numbers that look random and are the same in each run.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.roll(one_in) == 0
    }

    fn millis(&mut self, most: u64) -> Duration {
        Duration::from_micros(self.roll(1_000 * most) + 1)
    }
}

/// What the first byte of a connection asks its handler to do.
fn handle(mut stream: TcpStream) -> io::Result<()> {
    let mut what = [0];
    stream.read_exact(&mut what)?;
    match what[0] % 8 {
        0 => std::panic::resume_unwind(Box::new("asked to")),
        1 => pause().map_err(io::Error::from),
        2 => stream.write_all(&LOT),
        3 => {
            let mut byte = [0];
            while stream.read(&mut byte)? == 1 {
                yield_now();
            }
            Ok(())
        }
        4 => Ok(()),
        _ => io::copy(&mut &stream, &mut &stream).map(drop),
    }
}

/// A client that may do anything; that it fails is what it is for.
fn harm(address: SocketAddr, mut dice: Dice) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    if dice.chance(8) {
        return Ok(()); // gone before it has said anything
    }
    let data = vec![dice.roll(256) as u8; dice.roll(200_000) as usize + 1];
    let cut = dice.roll(data.len() as u64 + 1) as usize;
    match dice.roll(6) {
        0 => {
            stream.write_all(&data[..cut])?;
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?; // a reset when it is dropped
            return Ok(());
        }
        1 => {
            stream.write_all(&data[..cut])?;
            stream.shutdown(Shutdown::Write)?;
        }
        2 => {
            for byte in &data[..cut.min(300)] {
                stream.write_all(&[*byte])?;
                yield_now();
            }
        }
        3 => {
            stream.shutdown(Shutdown::Read)?;
            stream.write_all(&data)?;
        }
        4 => {
            stream.write_all(&data[..1])?;
            sleep(dice.millis(3))?; // never reads
            return Ok(());
        }
        _ => {
            let twin = stream.try_clone()?;
            let copy = data.clone();
            spawn(move || drop((&twin).write_all(&copy)));
        }
    }
    let mut slow = [0; 512];
    while stream.read(&mut slow)? > 0 {
        if dice.chance(4) {
            yield_now();
        }
    }
    Ok(())
}

/// A child that is talked to, killed, left alone or waited for.
fn child(mut dice: Dice) -> io::Result<()> {
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(dice.chance(2));
    let mut child = command.spawn()?;
    let (mut to, mut from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let data = vec![7; dice.roll(100_000) as usize];
    let writer = spawn(move || to.write_all(&data));
    match dice.roll(4) {
        0 => child.kill()?,
        1 => return Ok(()), // it is dropped, its output too
        2 => sleep(dice.millis(3))?,
        _ => {}
    }
    io::copy(&mut from, &mut io::sink())?;
    child.wait()?;
    drop(writer.join());
    Ok(())
}

/// One server, its clients, some children, and what befalls them.
fn round(mut dice: Dice) {
    let listener = listen("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = channel::<Never>();
    let (limit, grace, deadline) = (dice.roll(6) as usize + 1, dice.millis(3), dice.millis(15));
    let server = spawn(move || {
        let serve = Serve::new().limit(limit).grace(grace).deadline(deadline).on_panic(|_| ());
        serve.run(&listener, &stopped, |stream, _| handle(stream))
    });
    let clients: Vec<Tasklet<_>> = (0..dice.roll(12) + 1)
        .map(|_| {
            let (kind, dice) = (dice.roll(5), Dice(dice.roll(u64::MAX - 1) + 1));
            let body = move || if kind == 0 { child(dice) } else { harm(address, dice) };
            spawn(move || within(Duration::from_millis(30), body).value)
        })
        .collect();
    let hoard: Vec<_> = if dice.chance(6) {
        std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect()
    } else {
        Vec::new()
    };
    sleep(dice.millis(5)).unwrap();
    drop(hoard);
    for client in &clients {
        if dice.chance(4) {
            client.cancel();
        }
    }
    if dice.chance(5) {
        server.cancel();
    }
    if dice.chance(2) {
        drop(stop);
        drop(server.join());
        clients.into_iter().for_each(|it| drop(it.join()));
    } else {
        clients.into_iter().for_each(|it| drop(it.join()));
        drop(stop);
        drop(server.join());
    }
}

/// What is open, by number, and what that is.
fn descriptors() -> Vec<String> {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().map(|it| it.unwrap().path());
    let name = |it: &PathBuf| std::fs::read_link(it).map(|to| to.display().to_string());
    // What is gone by now is the folder that is being read.
    open.filter_map(|it| Some(format!("{}: {}", it.display(), name(&it).ok()?))).collect()
}

/// Waits until there are so few: those of children that were left alone go when these have ended.
fn wait_for_descriptors(most: usize) {
    for _ in 0..LOOKS {
        if descriptors().len() <= most {
            return;
        }
        std::thread::yield_now();
    }
    panic!("{most} descriptors were open, now these are: {:#?}", descriptors());
}

/// What there is between two rounds.
#[derive(Clone, Copy)]
struct Figures {
    descriptors: usize,
    /// Memory that has addresses: that of stacks, too, used or not.
    virtual_kib: usize,
    /// Memory that was written to: of what has been read once of the program's file more is there
    /// the longer it runs.
    written_kib: usize,
}

impl Figures {
    fn now() -> Figures {
        let (virtual_kib, written_kib) = (status_kib("VmSize"), status_kib("RssAnon"));
        Figures { descriptors: descriptors().len(), virtual_kib, written_kib }
    }

    fn tell(self, rounds: u32) {
        let Figures { descriptors, virtual_kib, written_kib } = self;
        eprintln!(
            "{rounds} rounds: {descriptors} descriptors, {virtual_kib} KiB of addresses, \
             {written_kib} KiB written to"
        );
    }
}

/// Goes on until `done` tells of a number of rounds that it is the whole; then there must be what
/// there was in the first quarter.
fn soak(done: impl Fn(u32) -> f64) {
    let runtime = Runtime::builder().build();
    let held = Rc::new(());
    let mut dice = Dice(0x5eed);
    let (mut rounds, mut tenths, mut fewest, mut warm_kib) = (0, 0, usize::MAX, 0);
    while done(rounds) < 1.0 {
        let (dice, held) = (Dice(dice.roll(u64::MAX - 1) + 1), held.clone());
        let ended = runtime.run(move || {
            round(dice);
            drop(held);
        });
        ended.unwrap();
        assert_eq!(runtime.snapshot().tasklets.len(), 0);
        rounds += 1;
        let figures = Figures::now();
        if done(rounds) <= 0.25 {
            fewest = fewest.min(figures.descriptors);
            warm_kib = warm_kib.max(figures.written_kib);
        }
        if done(rounds) * 10.0 >= f64::from(tenths) {
            figures.tell(rounds);
            tenths += 1;
        }
    }
    assert_eq!(Rc::strong_count(&held), 1);
    wait_for_descriptors(fewest);
    let last = Figures::now();
    last.tell(rounds);
    let grown = last.written_kib.saturating_sub(warm_kib);
    assert!(grown < GROWTH_KIB, "{grown} KiB more than in the first quarter");
}

#[test]
fn after_all_harm_nothing_is_left_over() {
    let seconds = std::env::var("TASKLETS_SOAK_SECONDS").ok();
    let seconds: Option<u32> = seconds.map(|it| it.parse().expect("a number of seconds"));
    let ended = Isolation::default().seconds(60 + u64::from(seconds.unwrap_or(ROUNDS))).run(|| {
        let start = now();
        match seconds {
            None => soak(|rounds| f64::from(rounds) / f64::from(ROUNDS)),
            Some(it) => soak(|_| (now() - start).as_secs_f64() / f64::from(it)),
        }
    });
    if let Some(ended) = ended {
        print!("{}", ended.well().text);
    }
}
