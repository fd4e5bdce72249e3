//! Plugs against simple models, over random sequences of operations.

use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use tasklets::plug::{self, Rest, Slow};
use tasklets::{Halt, Receiver, Runtime, Sender, Tasklet, channel, spawn, yield_now};

/// Lets everybody come as far as they can.
fn settle() {
    (0..20).for_each(|_| yield_now());
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Plain,
    Overwriting,
    Sliding,
    Unbounded,
}

fn kind() -> impl Strategy<Value = Kind> {
    use Kind::*;
    prop_oneof![Just(Plain), Just(Overwriting), Just(Sliding), Just(Unbounded)]
}

fn start(
    kind: Kind,
    room: usize,
    from: Receiver<u32>,
    to: Sender<u32>,
) -> Tasklet<Result<(), Rest<u32>>> {
    spawn(move || match kind {
        Kind::Plain => plug::buffer(room, from, to),
        Kind::Overwriting => plug::overwriting(room, from, to),
        Kind::Sliding => plug::sliding(room, from, to),
        Kind::Unbounded => plug::unbounded(room, |_| (), from, to),
    })
}

/// What a buffer holds after `item` was offered; false if it does not take it.
fn put(kind: Kind, room: usize, held: &mut VecDeque<u32>, item: u32) -> bool {
    if held.len() == room {
        match kind {
            Kind::Plain => return false,
            Kind::Overwriting => drop(held.pop_back()),
            Kind::Sliding => drop(held.pop_front()),
            Kind::Unbounded => {}
        }
    }
    held.push_back(item);
    true
}

#[derive(Clone, Debug)]
enum Access {
    Put,
    Get,
    Acquire,
    Release(usize),
    GiveUp,
}

fn puts_and_gets() -> impl Strategy<Value = Vec<Access>> {
    prop::collection::vec(prop_oneof![3 => Just(Access::Put), 2 => Just(Access::Get)], 0..60)
}

fn acquisitions() -> impl Strategy<Value = Vec<Access>> {
    let access = prop_oneof![
        3 => Just(Access::Acquire),
        2 => any::<usize>().prop_map(Access::Release),
        1 => Just(Access::GiveUp),
    ];
    prop::collection::vec(access, 0..40)
}

#[derive(Clone, Debug)]
enum News {
    Subscribe(u8, usize, Slow),
    Publish(u8),
    Read(usize),
    Leave(usize),
}

fn news() -> impl Strategy<Value = Vec<News>> {
    let slow = prop_oneof![Just(Slow::LosesOldest), Just(Slow::LosesNewest)];
    let step = prop_oneof![
        1 => (0..3_u8, 1..4_usize, slow).prop_map(|(k, n, s)| News::Subscribe(k, n, s)),
        4 => (0..3_u8).prop_map(News::Publish),
        2 => any::<usize>().prop_map(News::Read),
        1 => any::<usize>().prop_map(News::Leave),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn a_buffer_is_a_queue(
        kind in kind(),
        room in 1..5_usize,
        accesses in puts_and_gets(),
        seed in any::<u64>(),
    ) {
        Runtime::builder().seed(seed).build().run(|| {
            let ((tx, from), (to, rx)) = (channel(), channel());
            let process = start(kind, room, from, to);
            let mut held = VecDeque::new();
            for (item, access) in accesses.into_iter().enumerate() {
                let item = item as u32;
                settle();
                match access {
                    Access::Get => assert_eq!(rx.try_recv(), Ok(held.pop_front())),
                    _ => {
                        let taken = put(kind, room, &mut held, item);
                        assert_eq!(tx.try_send(item), Ok((!taken).then_some(item)));
                    }
                }
            }
            settle();
            process.cancel();
            let rest = process.join().unwrap().unwrap_err();
            assert_eq!((rest.items, rest.why), (held.into(), Halt::Cancelled));
        }).unwrap();
    }

    #[test]
    fn a_semaphore_is_a_count_with_a_queue(
        count in 1..4_usize,
        accesses in acquisitions(),
        seed in any::<u64>(),
    ) {
        Runtime::builder().seed(seed).build().run(|| {
            let (semaphore, passes) = plug::Semaphore::new();
            spawn(move || plug::semaphore(count, passes));
            let (served, news) = channel();
            let (mut inside, mut queue) = (Vec::new(), VecDeque::new());
            for (nth, access) in accesses.into_iter().enumerate() {
                match access {
                    Access::Acquire => {
                        let (semaphore, served) = (semaphore.clone(), served.clone());
                        let waits = spawn(move || {
                            let pass = semaphore.acquire()?;
                            served.send((nth, pass)).map_err(|it| it.why)
                        });
                        queue.push_back((nth, waits));
                    }
                    Access::Release(any) if !inside.is_empty() => {
                        drop(inside.swap_remove(any % inside.len()));
                    }
                    Access::GiveUp => {
                        if let Some((_, last)) = queue.pop_back() {
                            last.cancel();
                        }
                    }
                    _ => {}
                }
                settle();
                while let Some((nth, pass)) = news.try_recv().unwrap() {
                    assert_eq!(queue.pop_front().map(|it| it.0), Some(nth)); // the first
                    inside.push(pass);
                    settle();
                }
                assert_eq!(inside.len(), (inside.len() + queue.len()).min(count));
            }
        }).unwrap();
    }

    #[test]
    fn topics_are_queues_by_topic(steps in news(), seed in any::<u64>()) {
        Runtime::builder().seed(seed).build().run(|| {
            let (topics, requests) = plug::Topics::new();
            let process = spawn(move || plug::topics(requests));
            let mut model = BTreeMap::new();
            for (nth, step) in steps.into_iter().enumerate() {
                settle();
                let some = |model: &BTreeMap<usize, _>, any: usize| {
                    model.keys().nth(any % model.len().max(1)).copied()
                };
                match step {
                    News::Subscribe(topic, room, slow) => {
                        let hears = topics.subscribe(topic, room, slow).unwrap();
                        model.insert(nth, (topic, room, slow, VecDeque::new(), hears));
                    }
                    News::Publish(topic) => {
                        topics.publish(topic, nth).unwrap();
                        let hear = model.values_mut().filter(|it| it.0 == topic);
                        for (_, room, slow, held, _) in hear {
                            held.push_back(nth);
                            match slow {
                                _ if held.len() <= *room => {}
                                Slow::LosesNewest => drop(held.pop_back()),
                                _ => drop(held.pop_front()),
                            }
                        }
                    }
                    News::Read(any) => {
                        if let Some(who) = some(&model, any) {
                            let (.., held, hears) = model.get_mut(&who).unwrap();
                            assert_eq!(hears.try_recv(), Ok(held.pop_front()));
                        }
                    }
                    News::Leave(any) => drop(some(&model, any).map(|it| model.remove(&it))),
                }
            }
            drop(topics);
            for (.., held, hears) in model.into_values() {
                assert!(hears.iter().eq(held));
            }
            assert_eq!(process.join().unwrap(), Ok(()));
        }).unwrap();
    }
}
