//! Concurrent histories: what is linearizable, and stateful tests that find what is not.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};
use tasklets::explore::{Explore, History, Model, Search, clients, drive, schedule};
use tasklets::{Sender, channel, spawn};

/// A register: writes answer with nothing, reads with the value.
struct Register;

#[derive(Clone, Debug, PartialEq)]
enum Op {
    Write(u8),
    Read,
}

impl Model for Register {
    type State = u8;
    type Op = Op;
    type Answer = Option<u8>;

    fn start() -> u8 {
        0
    }

    fn apply(state: &mut u8, op: &Op) -> Option<u8> {
        match op {
            Op::Write(value) => {
                *state = *value;
                None
            }
            Op::Read => Some(*state),
        }
    }
}

/// A counter that answers with its value.
struct Counter;

impl Model for Counter {
    type State = u64;
    type Op = u64;
    type Answer = u64;

    fn start() -> u64 {
        0
    }

    fn apply(state: &mut u64, add: &u64) -> u64 {
        *state += add;
        *state
    }
}

enum Request {
    Add(u64, Sender<u64>),
    Read(Sender<u64>),
    Write(u64),
}

fn serve() -> Sender<Request> {
    let (server, requests) = channel();
    spawn(move || {
        let mut sum = 0;
        for request in requests.iter() {
            match request {
                Request::Add(add, reply) => {
                    sum += add;
                    reply.send(sum).unwrap();
                }
                Request::Read(reply) => reply.send(sum).unwrap(),
                Request::Write(new) => sum = new,
            }
        }
    });
    server
}

fn ask(server: &Sender<Request>, request: impl FnOnce(Sender<u64>) -> Request) -> u64 {
    let (reply, replied) = channel();
    server.send(request(reply)).unwrap();
    replied.recv().unwrap()
}

/// The server adds.
fn right(lists: &[Vec<u64>]) {
    let server = serve();
    drive::<Counter, _>(lists, |_| {
        let server = server.clone();
        move |add: &u64| ask(&server, |reply| Request::Add(*add, reply))
    });
}

/// The client adds: it reads, and writes the sum.
fn losing(lists: &[Vec<u64>]) {
    let server = serve();
    drive::<Counter, _>(lists, |_| {
        let server = server.clone();
        move |add: &u64| {
            let sum = ask(&server, Request::Read) + add;
            server.send(Request::Write(sum)).unwrap();
            sum
        }
    });
}

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

#[test]
fn a_counter_that_adds_is_linearizable_under_every_schedule() {
    let all = Explore::new().search(Search::Exhaustive).executions(20_000);
    let verdict = all.check(|| right(&[vec![1], vec![10]]));
    assert!(verdict.exhausted && verdict.traces > 1, "{verdict}");
}

#[test]
fn a_counter_that_adds_is_linearizable_for_all_clients() {
    let config = ProptestConfig { cases: 20, ..config() };
    let strategy = schedule().schedules(20).with(clients(1..9_u64, 1..=3, 0..=3));
    let done = TestRunner::new(config).run(&strategy, |(lists, schedule)| {
        schedule.run(|| right(&lists))?;
        Ok(())
    });
    assert_eq!(done.map_err(|it| it.to_string()), Ok(()));
}

#[test]
fn lost_updates_are_found_with_two_operations() {
    let strategy = schedule().name("losing").with(clients(1..9_u64, 1..=3, 0..=3));
    let found = TestRunner::new(config()).run(&strategy, |(lists, schedule)| {
        schedule.run(|| losing(&lists))?;
        Ok(())
    });
    let Err(TestError::Fail(reason, (lists, _))) = found else { panic!("{found:?}") };
    let reason = reason.to_string();
    let left: Vec<_> = lists.iter().filter(|it| !it.is_empty()).collect();
    assert_eq!(left, [&vec![1], &vec![1]], "{reason}");
    for part in ["is not linearizable", "calls 1", "is answered 1", "at most this can be explained"]
    {
        assert!(reason.contains(part), "{reason}");
    }
}

#[test]
fn an_answer_from_the_past_is_not_linearizable() {
    let mut history = History::default();
    for (op, answer) in [(Op::Write(5), None), (Op::Read, Some(0))] {
        history.call(0, op);
        history.answer(0, answer);
    }
    let error = history.check::<Register>().unwrap_err();
    assert_eq!(error.order, [0]);
    assert!(error.to_string().contains("is answered Some(0) to Read"), "{error}");
}

#[test]
fn a_call_without_an_answer_may_have_been_done_or_not() {
    for seen in [0, 5] {
        let mut history = History::default();
        history.call(0, Op::Write(5));
        history.call(1, Op::Read);
        history.answer(1, Some(seen));
        assert!(history.check::<Register>().is_ok());
        history.call(1, Op::Read);
        history.answer(1, Some(5 - seen));
        assert_eq!(history.check::<Register>().is_ok(), seen == 0, "it is not undone");
    }
}

#[test]
fn an_empty_history_is_linearizable() {
    assert_eq!(History::default().check::<Register>(), Ok(vec![]));
    Explore::new().executions(10).check(|| right(&[]));
    Explore::new().executions(10).check(|| right(&[vec![], vec![]]));
}

#[test]
fn the_same_operations_in_the_same_state_are_tried_once() {
    // 6 orders in each of 40 rounds, two states after each.
    let mut history = History::default();
    for _ in 0..40 {
        (0..3).for_each(|client| history.call(client, Op::Write((client % 2) as u8)));
        (0..3).for_each(|client| history.answer(client, None));
    }
    history.call(0, Op::Read);
    history.answer(0, Some(2)); // nobody wrote that
    let error = history.check::<Register>().unwrap_err();
    assert_eq!(error.order.len(), 120);
}

#[test]
#[should_panic(expected = "calls while it waits")]
fn a_client_that_waits_cannot_call() {
    let mut history = History::<Op, Option<u8>>::default();
    history.call(0, Op::Read);
    history.call(0, Op::Read);
}

#[test]
#[should_panic(expected = "is answered but did not call")]
fn who_did_not_call_is_not_answered() {
    History::<Op, Option<u8>>::default().answer(3, None);
}

/// Whether some order of all operations, tried one by one, gives these answers. All are answered.
fn any_order(history: &[(usize, usize, Op, Option<u8>)], state: u8, taken: u32) -> bool {
    if taken.count_ones() as usize == history.len() {
        return true;
    }
    let left = || (0..history.len()).filter(|it| taken >> it & 1 == 0);
    left().any(|place| {
        let (call, _, op, answer) = &history[place];
        let first = left().all(|other| other == place || history[other].1 > *call);
        let mut state = state;
        first
            && Register::apply(&mut state, op) == *answer
            && any_order(history, state, taken | 1 << place)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..config() })]

    /// Each number calls if its client does not wait, and is the answer otherwise.
    #[test]
    fn the_check_agrees_with_trying_all_orders(
        moments in vec((0..3_usize, 0..2_u8, any::<bool>()), 0..12)
    ) {
        let (mut history, mut plain) = (History::default(), Vec::new());
        let mut open = [None; 3];
        let last = [(0, 0, true), (1, 0, true), (2, 1, true)];
        for (moment, (client, value, write)) in moments.iter().chain(&last).enumerate() {
            let closing = moment >= moments.len();
            if let Some(place) = open[*client].take() {
                let (_, end, op, answer) = &mut plain[place];
                let told = matches!(op, Op::Read).then_some(*value);
                (*end, *answer) = (moment, told);
                history.answer(*client, told);
            } else if !closing {
                let op = if *write { Op::Write(*value) } else { Op::Read };
                open[*client] = Some(plain.len());
                plain.push((moment, usize::MAX, op.clone(), None));
                history.call(*client, op);
            }
        }
        let found = history.check::<Register>();
        prop_assert_eq!(found.is_ok(), any_order(&plain, 0, 0), "{:?}", history);
        if let Ok(order) = found {
            let mut state = Register::start();
            for place in order {
                let one = &history.operations()[place];
                prop_assert_eq!(Some(Register::apply(&mut state, &one.op)), one.answer);
            }
        }
    }
}
