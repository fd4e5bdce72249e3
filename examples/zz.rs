//! x
use tasklets::explore::*;
use tasklets::*;
fn main() {
    let n: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let which = std::env::args().nth(2).unwrap();
    let producers = || {
        let (tx, rx) = channel();
        for _ in 0..3 {
            let tx = tx.clone();
            spawn(move || (0..10).for_each(|it| tx.send(it).unwrap()));
        }
        drop(tx);
        assert_eq!(rx.iter().count(), 30);
    };
    let t = std::time::Instant::now();
    let settings = Settings { executions_max: n, ..Settings::default() };
    let p = Program::new("x", &producers);
    let v = match which.as_str() {
        "walk" => sample(&p, Mode::Walk, 1, &settings, &mut |_, _| ()),
        "pairs" => sample(&p, Mode::Pairs, 1, &settings, &mut |_, _| ()),
        "default" => sample(&p, Mode::Default, 1, &settings, &mut |_, _| ()),
        _ => exhaust(&p, &settings),
    };
    eprintln!("{v} {:?} per second {} ", t.elapsed(), n as f64 / t.elapsed().as_secs_f64());
}
