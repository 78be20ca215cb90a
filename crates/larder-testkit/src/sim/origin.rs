//! The origin side of the simulated origin: a load is one snapshot.

use larder_core::{
    BoxFuture, Dependency, Error, Name, Stamp,
    origin::{Answer, Origin},
};

use super::{SimOrigin, state::dependency};
use crate::conformance::{Ask, Row};

impl Origin for SimOrigin {
    type Query = Ask;
    type Rows = Vec<Row>;

    fn timeline(&self) -> &Name {
        &self.name
    }

    fn shape(&self, query: &Ask) -> Vec<Dependency> {
        vec![dependency(&self.name, *query)]
    }

    fn load<'a>(
        &'a self,
        query: &'a Ask,
        before: Stamp,
    ) -> BoxFuture<'a, Result<Answer<Vec<Row>>, Error>> {
        let answer = self.state.lock().load(*query, &before).map(|(rows, stamp)| Answer {
            rows,
            stamp,
            dependencies: self.shape(query),
        });
        Box::pin(std::future::ready(answer))
    }
}
