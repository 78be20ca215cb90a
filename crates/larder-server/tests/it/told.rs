//! Tables whose feed is in the test's hand: what is asked of it before an answer.
//!
//! Apart from `tabling`, where the feed is that of SQLite, which looks by itself at any moment, so
//! that nobody can say who asked.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use larder::{Clock, Dependency, Error, Feed, FeedSink, Token};
use larder_core::{
    BoxFuture,
    change::Change,
    feed::Doubt,
    timeline::{Epoch, Name, Position},
};
use larder_server::{
    serve::{self, Running},
    server::{Server, Timing},
    table::Table,
};
use tokio::net::TcpListener;

use crate::{
    client::Client,
    shop::Shop,
    tabling::{TABLE, titles},
};

/// A feed of the shop that says that something changed when it is asked, and not before.
#[derive(Debug)]
struct Silent {
    timeline: Name,
    clock: Clock,
    sink: Mutex<Option<Arc<dyn FeedSink>>>,
    has_changed: AtomicBool,
}

impl Silent {
    fn new(clock: &Clock) -> Arc<Self> {
        let (sink, has_changed) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Self { timeline: "shop".into(), clock: clock.clone(), sink, has_changed })
    }
}

impl Feed for Silent {
    fn timeline(&self) -> &Name {
        &self.timeline
    }

    fn start(&self, sink: Arc<dyn FeedSink>) -> Result<(), Error> {
        sink.restarted("shop", Epoch(7), Position(1), Doubt::Started);
        sink.confirmed("shop", Position(1), self.clock.now());
        *self.sink.lock().unwrap() = Some(sink);
        Ok(())
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), Error>> {
        if self.has_changed.swap(false, Ordering::SeqCst) {
            let sink = self.sink.lock().unwrap().clone().unwrap();
            let everything = [Change::Touch(Dependency::everything("shop"))];
            sink.received("shop", Position(2), &everything);
            sink.confirmed("shop", Position(2), self.clock.now());
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn stop(&self) {}
}

/// A server whose table hears only what the feed says.
async fn serve(shop: &Shop, text: &str) -> (Running, Arc<Silent>) {
    let config = shop.config(text);
    let listener = TcpListener::bind(config.server.listen).await.unwrap();
    let mut server = Server::build(config, Timing::Sampled).await.unwrap();
    let own = Arc::get_mut(&mut server).unwrap();
    let feed = Silent::new(&own.clock);
    let catalog = Arc::get_mut(&mut own.catalog).unwrap();
    let (settings, origin) = (&own.config.tables["albums"], catalog.origin("shop").unwrap());
    let table = Table::build("albums", settings, origin, Some(feed.clone()), &own.clock).unwrap();
    catalog.tables = vec![Arc::new(table)];
    (serve::begin(listener, server).unwrap(), feed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_with_a_position_asks_what_tells_the_table_although_the_cache_knows_it() {
    let shop = Shop::new("wal");
    let text = TABLE.replace("max_staleness = \"0\"", "max_staleness = \"1h\"");
    shop.track(&text);
    let (running, feed) = serve(&shop, &text).await;
    let mut client = Client::connect(running.address).await;
    let path = "/v1/tables/albums?prefix=94";
    let before = ["A Matter of Life and Death"];
    assert_eq!(titles(&client.get(path).await), before);
    shop.change("UPDATE Album SET Title = 'B' WHERE AlbumId = 94");
    feed.has_changed.store(true, Ordering::SeqCst);
    assert_eq!(titles(&client.get(path).await), before, "within the hour nobody asks");
    // It requires nothing that the cache has not heard of.
    let position = running.server.positions.header(&Token::new());
    let headers = [("larder-at-least", position.to_str().unwrap())];
    assert_eq!(titles(&client.get_with(path, &headers).await), ["B"]);
    running.stop().await;
}
