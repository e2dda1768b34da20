//! The runtime as openraft sees it: tokio's, on the thread that started the node, with shorter waits.
//!
//! openraft waits a microsecond between two completions of the log when they come close together. tokio's timer
//! counts milliseconds, so each such wait would be a thousand times too long: here it lasts one turn of the
//! scheduler. Virtual time stands still meanwhile, so on a simulated machine a short wait is as long as any.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use openraft::{AsyncRuntime, Instant};

use crate::{machine, pause};

type Tokio = openraft::TokioRuntime;

/// What the timer cannot tell from nothing.
const TURN: Duration = Duration::from_micros(500);

#[derive(Debug)]
pub(crate) struct Runtime;

/// A wait of openraft's.
pub(crate) enum Pause {
    Turn { taken: bool },
    Timer(Pin<Box<<Tokio as AsyncRuntime>::Sleep>>),
}

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &mut *self {
            Pause::Timer(timer) => timer.as_mut().poll(context),
            Pause::Turn { taken: true } => Poll::Ready(()),
            Pause::Turn { taken } => {
                *taken = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl AsyncRuntime for Runtime {
    type JoinError = <Tokio as AsyncRuntime>::JoinError;
    type JoinHandle<T: Send + 'static> = <Tokio as AsyncRuntime>::JoinHandle<T>;
    type Sleep = Pause;
    type Instant = <Tokio as AsyncRuntime>::Instant;
    type TimeoutError = <Tokio as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + Send> = <Tokio as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <Tokio as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = <Tokio as AsyncRuntime>::Mpsc;
    type Watch = <Tokio as AsyncRuntime>::Watch;
    type Oneshot = <Tokio as AsyncRuntime>::Oneshot;
    type Mutex<T: Send + 'static> = <Tokio as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + Send + 'static,
        T::Output: Send + 'static,
    {
        pause::spawn(future)
    }

    fn sleep(duration: Duration) -> Pause {
        if duration < TURN && !machine::is_simulated() {
            Pause::Turn { taken: false }
        } else {
            Pause::Timer(Box::pin(Tokio::sleep(duration)))
        }
    }

    fn sleep_until(deadline: Self::Instant) -> Pause {
        if deadline < Self::Instant::now() + TURN && !machine::is_simulated() {
            Pause::Turn { taken: false }
        } else {
            Pause::Timer(Box::pin(Tokio::sleep_until(deadline)))
        }
    }

    fn timeout<R, F: Future<Output = R> + Send>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        Tokio::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + Send>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        Tokio::timeout_at(deadline, future)
    }

    fn is_panic(error: &Self::JoinError) -> bool {
        Tokio::is_panic(error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        Tokio::thread_rng()
    }

    fn new(_: usize) -> Runtime {
        unreachable!("the journal runs where it is started")
    }

    fn block_on<F, T>(&mut self, _: F) -> T
    where
        F: Future<Output = T>,
    {
        unreachable!("the journal runs where it is started")
    }
}
