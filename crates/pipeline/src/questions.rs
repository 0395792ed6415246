//! Hands the engine's questions to the task that asks LiveKit's API.

use tokio::sync::{mpsc, oneshot};

use livekit_otel_model::event::answer::Question;

/// Receives the engine's questions, each not before it is wanted, so that it is not out of date.
#[derive(Debug)]
pub struct Questions {
    ready: mpsc::Sender<oneshot::Sender<Question>>,
    waiting: Option<oneshot::Receiver<Question>>,
}

/// The pipeline's end of [`Questions`].
#[derive(Debug)]
pub struct Askers {
    ready: mpsc::Receiver<oneshot::Sender<Question>>,
    waiting: Option<oneshot::Sender<Question>>,
}

/// Both ends.
pub fn questions() -> (Questions, Askers) {
    let (sender, receiver) = mpsc::channel(1);
    (Questions { ready: sender, waiting: None }, Askers { ready: receiver, waiting: None })
}

impl Questions {
    /// The next question, once one is due; never, if the pipeline has ended. A call that is dropped loses no
    /// question.
    pub async fn next(&mut self) -> Question {
        loop {
            if let Some(waiting) = &mut self.waiting {
                let question = waiting.await;
                self.waiting = None;
                match question {
                    Ok(question) => return question,
                    Err(_) => std::future::pending().await,
                }
            }
            let (sender, receiver) = oneshot::channel();
            if self.ready.send(sender).await.is_err() {
                std::future::pending::<()>().await;
            }
            self.waiting = Some(receiver);
        }
    }
}

impl Askers {
    /// Waits until a question is wanted. A call that is dropped loses nothing.
    pub(crate) async fn wait(&mut self) {
        while self.waiting.is_none() {
            match self.ready.recv().await {
                Some(asker) => self.waiting = Some(asker),
                None => std::future::pending().await,
            }
        }
    }

    /// Hands over a question that [`Askers::wait`] has waited for.
    pub(crate) fn hand_over(&mut self, question: Question) {
        if let Some(asker) = self.waiting.take() {
            // An asker that has ended needs no question.
            let _ = asker.send(question);
        }
    }
}
