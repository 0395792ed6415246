use super::*;

fn at(secs: u64) -> Time {
    Time::from_millis(1_795_406_960_000).unwrap() + Duration::from_secs(secs)
}

fn room(nth: u32) -> RoomSid {
    RoomSid::new(&format!("RM_{nth}")).unwrap()
}

fn questions() -> Questions {
    Questions { is_enabled: true, ..Questions::default() }
}

#[test]
fn what_is_not_answered_waits_for_twice_as_many_lists_each_time() {
    let (mut questions, ask) = (questions(), Ask::Dispatches(room(1)));
    questions.ask(at(0), ask.clone());
    let mut asked = Vec::new();
    for round in 0..130 {
        if round > 0 {
            questions.listed(&room(1), at(round * 60));
        }
        asked.extend(questions.pop(at(round * 60)).map(|_| round));
    }
    assert_eq!(asked, [0, 1, 3, 7, 15, 31, 63, 95, 127]);
    // An answer that is too old for the newest wish is an answer all the same.
    questions.ask(at(7800), ask.clone());
    questions.answered(&ask, at(7799));
    assert_eq!(questions.pop(at(7800)), Some(ask.clone()));
    questions.listed(&room(1), at(7860));
    assert_eq!(questions.pop(at(7860)), Some(ask));
}

#[test]
fn a_new_wish_is_asked_for_at_once() {
    let (mut questions, ask) = (questions(), Ask::Dispatches(room(1)));
    questions.ask(at(0), ask.clone());
    assert_eq!(questions.pop(at(0)), Some(ask.clone()));
    questions.ask(at(30), ask.clone());
    assert_eq!((questions.next(), questions.pop(at(30))), (Some(at(30)), Some(ask)));
}

#[test]
fn what_is_new_comes_before_what_was_not_answered() {
    let mut questions = questions();
    for nth in 0..100 {
        questions.ask(at(0), Ask::Dispatches(room(nth)));
    }
    while questions.pop(at(0)).is_some() {}
    for nth in 0..100 {
        questions.listed(&room(nth), at(60));
    }
    let new = [Ask::Dispatches(room(100)), Ask::Participants(room(101))];
    for ask in &new {
        questions.ask(at(90), ask.clone());
    }
    let asked: Vec<_> = std::iter::from_fn(|| questions.pop(at(90))).collect();
    assert_eq!((&asked[..2], asked.len()), (&new[..], 102));
}
