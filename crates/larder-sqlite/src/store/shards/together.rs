//! Asking several files at once, and putting their answers back in order.
//!
//! **Invariant**: every question that was begun is asked to its end, also when another one failed;
//! so what an error leaves behind is whole in each file.

use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll};

use larder_core::{Error, ErrorKind};
use parking_lot::Mutex;

use crate::store::headway::Told;

/// The answers of all, in their order.
pub(crate) async fn all<T>(asked: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut asked: Vec<Asked<_, T>> =
        asked.into_iter().map(|future| Asked::Waits(Box::pin(future))).collect();
    poll_fn(|context| {
        let mut is_done = true;
        for one in &mut asked {
            if let Asked::Waits(future) = one {
                match future.as_mut().poll(context) {
                    Poll::Ready(answer) => *one = Asked::Answered(answer),
                    Poll::Pending => is_done = false,
                }
            }
        }
        if is_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let answer = |one| match one {
        Asked::Answered(answer) => Some(answer),
        Asked::Waits(_) => None,
    };
    asked.into_iter().filter_map(answer).collect()
}

enum Asked<F, T> {
    Waits(Pin<Box<F>>),
    Answered(T),
}

/// The answers of all, or the first error among them.
pub(crate) async fn try_all<T>(
    asked: impl IntoIterator<Item = impl Future<Output = Result<T, Error>>>,
) -> Result<Vec<T>, Error> {
    all(asked).await.into_iter().collect()
}

/// For each of several files one who is told how far it is, and tells `told` of all together.
pub(crate) fn summed(count: usize, told: &Told) -> Vec<Told> {
    let parts = Arc::new(Mutex::new(vec![(0, 0); count]));
    let part = |at: usize| -> Told {
        let (parts, told) = (parts.clone(), told.clone());
        Arc::new(Mutex::new(move |done, all| {
            let mut parts = parts.lock();
            if let Some(part) = parts.get_mut(at) {
                *part = (done, all);
            }
            let sum = |(a, b): (u64, u64), (done, all): &(u64, u64)| (a + done, b + all);
            let (done, all) = parts.iter().fold((0, 0), sum);
            // Under the lock, so that nobody is told of what was before.
            told.lock()(done, all);
        }))
    };
    (0..count).map(part).collect()
}

/// Items on their way to the files that they belong in.
pub(crate) struct Parts<T> {
    /// For each file, the items and the places that they had.
    parts: Vec<(Vec<T>, Vec<usize>)>,
}

impl<T> Parts<T> {
    /// Divides `items` among `count` files.
    pub(crate) fn new(items: Vec<T>, count: usize, place: impl Fn(&T) -> usize) -> Self {
        let mut parts: Vec<_> = (0..count).map(|_| (Vec::new(), Vec::new())).collect();
        for (at, item) in items.into_iter().enumerate() {
            if let Some((items, places)) = parts.get_mut(place(&item)) {
                items.push(item);
                places.push(at);
            }
        }
        Self { parts }
    }

    /// What `ask` answers for each item, in the order in which they came. Files in which there is
    /// none of them are not asked.
    ///
    /// # Errors
    /// The first error, after all were asked.
    pub(crate) async fn ask<R, F: Future<Output = Result<Vec<R>, Error>>>(
        self,
        ask: impl Fn(usize, Vec<T>) -> F,
    ) -> Result<Vec<R>, Error> {
        let (mut asked, mut order) = (Vec::new(), Vec::new());
        for (file, (items, places)) in self.parts.into_iter().enumerate() {
            if !items.is_empty() {
                asked.push(ask(file, items));
                order.push((file, places));
            }
        }
        let mut answered = Vec::new();
        for (answers, (file, places)) in all(asked).await.into_iter().zip(order) {
            let answers = answers.map_err(|error| of_file(error, file))?;
            answered.extend(places.into_iter().zip(answers));
        }
        answered.sort_unstable_by_key(|(place, _)| *place);
        Ok(answered.into_iter().map(|(_, answer)| answer).collect())
    }
}

/// An error of one of the items in a file, which numbers only those that it got.
fn of_file(error: Error, file: usize) -> Error {
    match error.kind() {
        ErrorKind::Config | ErrorKind::Conflict | ErrorKind::Limit | ErrorKind::Full => {
            error.subject(format!("(one of the items in file {})", file + 1))
        }
        _ => error,
    }
}
