//! The feed side of the simulated origin. No thread: the test delivers, or `catch_up` does.

use std::sync::Arc;

use larder_core::{
    BoxFuture, Error, Name,
    feed::{Feed, FeedSink},
    store::Standing,
};

use super::SimOrigin;

impl Feed for SimOrigin {
    fn timeline(&self) -> &Name {
        &self.name
    }

    fn start(&self, sink: Arc<dyn FeedSink>) -> Result<(), Error> {
        self.state.lock().start(&self.name, sink)
    }

    fn start_from(&self, sink: Arc<dyn FeedSink>, left: &Standing) -> Result<(), Error> {
        self.state.lock().start_from(&self.name, sink, left)
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), Error>> {
        let moment = self.clock.now();
        let caught_up = self.state.lock().catch_up(&self.name, moment);
        Box::pin(std::future::ready(caught_up))
    }

    fn has_passed<'a>(&'a self, mark: &'a [u8]) -> BoxFuture<'a, Result<bool, Error>> {
        let moment = self.clock.now();
        let mut state = self.state.lock();
        let caught_up = state.catch_up(&self.name, moment);
        let passed = caught_up.map(|()| state.has_passed(mark));
        Box::pin(std::future::ready(passed))
    }

    fn has_places(&self) -> bool {
        true
    }

    fn stop(&self) {
        self.state.lock().stop();
    }
}
