//! `larder-bench [name] [--json FILE]`: the benchmarks, each ratio measured in one run.
//!
//! One file per benchmark, all of them in [`BENCHES`]. A benchmark is a function that returns rows;
//! nothing here is a test, because a machine's mood must not fail a build. **Invariant**: a ratio
//! compares two things measured in alternation in this very process.

mod report;

mod measure;

mod hit;

mod invalidate;

mod region;

mod finish;

mod changes;

mod links;

mod matroska;

mod crowd;

mod visible;

mod idle;

mod tracking;

mod http;

mod shop;

mod store;

mod table;

mod writer;

mod child;

mod python;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};

use report::Row;

/// A benchmark: its name on the command line, what it answers, and the function.
struct Bench {
    name: &'static str,
    question: &'static str,
    run: fn() -> Result<Vec<Row>>,
}

const BENCHES: &[Bench] = &[
    Bench {
        name: "hit",
        question: "what does a hit in the memory tier cost, and do dependencies or changes matter?",
        run: hit::run,
    },
    Bench {
        name: "invalidate",
        question: "what does it cost to invalidate a million dependents, and whom?",
        run: invalidate::run,
    },
    Bench {
        name: "region",
        question: "what does a hit cost through the public interface?",
        run: region::run,
    },
    Bench {
        name: "finish",
        question: "what does it cost to store an entry, by the number of its dependencies?",
        run: finish::run,
    },
    Bench {
        name: "changes",
        question: "how many changes does one thread apply, by the number of scopes?",
        run: changes::run,
    },
    Bench {
        name: "links",
        question: "how much memory does a link take, and is any left when the entries are gone?",
        run: links::run,
    },
    Bench {
        name: "matroska",
        question: "how long do get, store and invalidate take beside matroska-cache on Redis?",
        run: matroska::run,
    },
    Bench {
        name: "crowd",
        question: "how many loads do ten thousand readers of a cold key take, and how long?",
        run: crowd::run,
    },
    Bench {
        name: "visible",
        question: "how long after another process's commit does a read here return the new value?",
        run: visible::run,
    },
    Bench {
        name: "idle",
        question: "how much processor time does it take to watch a database that does not change?",
        run: idle::run,
    },
    Bench {
        name: "tracking",
        question: "what do the triggers cost the application's single-row commits?",
        run: tracking::run,
    },
    Bench {
        name: "http",
        question: "how many hits over HTTP does a core serve, and how many does nginx?",
        run: http::run,
    },
    Bench {
        name: "store",
        question: "what does the SQLite store cost beside the statements that it is made of?",
        run: store::run,
    },
    Bench {
        name: "table",
        question: "what does a range of a cached table cost, and what does keeping it?",
        run: table::run,
    },
    Bench {
        name: "feed",
        question: "how many changed rows does a cached table put in place, and how soon?",
        run: table::feed::run,
    },
    Bench {
        name: "large",
        question: "from which size on are the store's values better off in files of their own?",
        run: store::large::run,
    },
];

fn main() -> Result<ExitCode> {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some(writer::ARGUMENT) {
        writer::run(words)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (name, json) = arguments()?;
    let chosen: Vec<&Bench> =
        BENCHES.iter().filter(|b| name.as_deref().is_none_or(|name| name == b.name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = BENCHES.iter().map(|bench| bench.name).collect();
        bail!("no such benchmark; there are: {}", names.join(", "));
    }
    let (mut rows, mut status) = (Vec::new(), ExitCode::SUCCESS);
    for bench in chosen {
        eprintln!("{}: {}", bench.name, bench.question);
        match (bench.run)() {
            Ok(own) => {
                println!("{}", report::table(&own));
                rows.extend(own);
            }
            // A peer that cannot be had takes its own rows away and no others.
            Err(error) => {
                eprintln!("  failed to run `{}`: {error:#}", bench.name);
                status = ExitCode::FAILURE;
            }
        }
    }
    if let Some(path) = json {
        report::write_json(&rows, &path)?;
    }
    Ok(status)
}

fn arguments() -> Result<(Option<String>, Option<PathBuf>)> {
    let (mut name, mut json) = (None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json = Some(arguments.next().context("--json needs a file")?.into()),
            flag if flag.starts_with('-') => bail!("unknown argument `{flag}`"),
            _ if name.is_some() => bail!("name one benchmark, or none for all"),
            _ => name = Some(argument),
        }
    }
    Ok((name, json))
}
