//! What the running relay does for each command.

use std::io;
use std::sync::Arc;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use uuid::Uuid;

use super::control::{IDLE, Request, Response};
use super::stream::{self, Long};
use super::{Overview, Progress};
use crate::ledger::{
    AdoptError, Adopted, Forgotten, Held, Ledger, Lifted, Suppression, Views, may_empty,
};
use crate::pure::verify::Line;
use crate::readback::{Cleanup, NothingToAsk};

pub(super) fn failed(error: &str) -> Response {
    Response::Failed { error: error.to_owned() }
}

/// For how long MISP may be as empty as an operator says, milliseconds.
const LEAVE: i64 = 600_000;

/// Does what a command asks.
pub(super) async fn answer(
    request: Request,
    overview: &Overview,
    writer: &mut OwnedWriteHalf,
    long: &Semaphore,
) -> io::Result<Response> {
    if let Request::Verify { target, repair } = request {
        return verify((target, repair), overview, writer).await;
    }
    if let Request::Cleanup { cleanup: what } = request {
        return cleanup(what, overview, writer).await;
    }
    match in_many_lines(&request) {
        Some(long_one) => say_all(long_one, overview, writer, long).await,
        None => Ok(answer_shortly(request, overview).await),
    }
}

fn in_many_lines(request: &Request) -> Option<Long> {
    if let Request::Explain { what, stix } = request {
        return Some(Long::Explain { what: what.clone(), stix: *stix });
    }
    let fixed = [(Request::LedgerExport, Long::Export), (Request::LedgerCheck, Long::Check)];
    fixed.into_iter().find(|(one, _)| one == request).map(|(_, long_one)| long_one)
}

async fn answer_shortly(request: Request, overview: &Overview) -> Response {
    let unwritable = |error| failed(&format!("the ledger cannot be written: {error}"));
    match request {
        Request::Status => match overview.status().await {
            Ok(status) => Response::Status { status: Box::new(status) },
            Err(error) => failed(&format!("the ledger cannot be read: {error}")),
        },
        Request::RetryRejected { target } => retry(target.as_deref(), overview).await,
        Request::LedgerRepair => {
            match overview.ledger.judge_anew(&overview.views, Ledger::now()).await {
                Ok(()) => Response::Repaired,
                Err(error) => unwritable(error),
            }
        }
        Request::LedgerVacuum => match overview.ledger.give_back().await {
            Ok(given) => Response::Vacuumed { given },
            Err(error) => unwritable(error),
        },
        Request::Resync { event, since } => match resync(overview, event, since).await {
            Ok(true) => Response::Done,
            Ok(false) => failed("a resync reads MISP over REST: set misp.key"),
            Err(error) => unwritable(error),
        },
        Request::Progress => match Progress::of(&overview.ledger, &overview.source).await {
            Ok(progress) => {
                let fault = overview.rest.as_ref().and_then(|rest| rest.now().error);
                Response::Progress { progress: progress.map(|one| Progress { fault, ..one }) }
            }
            Err(error) => failed(&format!("the ledger cannot be read: {error}")),
        },
        Request::Copy { to } => match overview.ledger.copy_to(&to).await {
            Ok(()) => Response::Done,
            Err(error) => failed(&format!("the ledger cannot be copied: {error}")),
        },
        Request::Held => match held(&overview.ledger).await {
            Ok((held, warninglists)) => Response::Held { held, warninglists },
            Err(error) => failed(&format!("the ledger cannot be read: {error}")),
        },
        Request::Release { event, empty } => released(overview, event, empty).await,
        Request::ReleaseWarninglists => {
            let (ledger, source) = (&overview.ledger, &overview.source);
            match release_warninglists(ledger, &overview.views, source).await {
                Ok(withdrawn) => Response::ReleasedWarninglists { withdrawn },
                Err(error) => failed(&error.to_string()),
            }
        }
        Request::Suppress { value, until, reason } => {
            suppression(suppress(overview, (&value, &reason), until).await)
        }
        Request::Unsuppress { value } => suppression(unsuppress(overview, &value).await),
        Request::Suppressed => suppressed(overview).await,
        Request::Forget { target } => forgotten(overview, target).await,
        // The long ones.
        Request::LedgerExport
        | Request::LedgerCheck
        | Request::Explain { .. }
        | Request::Verify { .. }
        | Request::Cleanup { .. } => failed("this is answered in many lines"),
    }
}

async fn forgotten(overview: &Overview, target: String) -> Response {
    match overview.ledger.forget(&target, &overview.configured).await {
        Ok(done) => {
            match &done {
                Forgotten::Done { objects } => {
                    tracing::warn!(of = target, objects, "forgotten, as an operator asked");
                }
                Forgotten::Configured | Forgotten::Unknown { .. } => {
                    tracing::info!(
                        of = target,
                        ?done,
                        "an operator asked to forget a target that is configured or not known: nothing was changed"
                    );
                }
            }
            Response::Forgotten { done }
        }
        Err(error) => failed(&format!("the ledger cannot be written: {error}")),
    }
}

/// The claims that the guard keeps, and how many live indicators warninglists would withdraw that wait
/// for leave.
pub(super) async fn held(ledger: &Ledger) -> sqlx::Result<(Vec<Held>, Option<i64>)> {
    Ok((ledger.held().await?, ledger.waiting_warninglists().await?))
}

async fn released(overview: &Overview, event: Option<Uuid>, empty: bool) -> Response {
    if empty && !shows_empty(overview) {
        return failed(
            "MISP shows events that the ledger holds: nothing is kept back for its being empty",
        );
    }
    let ledger = &overview.ledger;
    match release(ledger, &overview.views, (&overview.source, event, empty)).await {
        Ok(claims) => Response::Released { claims },
        Err(error) => failed(&format!("the ledger cannot be written: {error}")),
    }
}

/// Puts the waiting warninglists into force; how many indicators they withdraw, if any wait.
pub(super) async fn release_warninglists(
    ledger: &Ledger,
    views: &Views,
    source: &str,
) -> Result<Option<usize>, AdoptError> {
    let adopted = ledger.release_warninglists(views, source).await?;
    let withdrawn = adopted.map(|adopted| match adopted {
        Adopted::InForce { withdrawn, .. } => withdrawn,
        Adopted::Same | Adopted::First | Adopted::Waiting { .. } => 0,
    });
    if let Some(withdrawn) = withdrawn {
        tracing::warn!(withdrawn, "MISP's warninglists are in force, as an operator asked");
    }
    Ok(withdrawn)
}

fn shows_empty(overview: &Overview) -> bool {
    overview.rest.as_ref().is_some_and(|rest| rest.now().empty)
}

/// Whether there is a key to read with.
async fn resync(
    overview: &Overview,
    event: Option<Uuid>,
    since: Option<i64>,
) -> sqlx::Result<bool> {
    if overview.rest.is_none() {
        return Ok(false);
    }
    let (ledger, source, now) = (&overview.ledger, &overview.source, Ledger::now());
    match event {
        Some(event) => ledger.resync_event(source, event, now).await?,
        None => ledger.begin_resync(source, since, now).await?,
    }
    tracing::info!(
        event = event.map(tracing::field::display),
        since,
        "full resync, as an operator asked"
    );
    Ok(true)
}

/// Ends what the guard holds; how many claims.
pub(super) async fn release(
    ledger: &Ledger,
    views: &Views,
    (source, event, empty): (&str, Option<Uuid>, bool),
) -> sqlx::Result<usize> {
    if empty {
        ledger.remember(&may_empty(source), &Value::from(Ledger::now() + LEAVE)).await?;
        ledger.look_again(source, Ledger::now()).await?;
        tracing::warn!("MISP may be empty, as an operator says");
        return Ok(0);
    }
    let claims = ledger.release(views, event, Ledger::now()).await?;
    tracing::warn!(claims, "held claims end, as an operator asked");
    Ok(claims)
}

async fn suppress(
    overview: &Overview,
    (value, reason): (&str, &str),
    until: Option<i64>,
) -> sqlx::Result<Suppression> {
    let (ledger, now) = (&overview.ledger, Ledger::now());
    let done = ledger.suppress(&overview.views, (value, reason), until, now).await?;
    let Suppression { before, claims, indicators, .. } = &done;
    tracing::warn!(value, reason, until, claims, indicators, "suppressed, as an operator asked");
    for Lifted { value, until, reason } in before {
        tracing::warn!(value, reason, until, "an earlier suppression is replaced");
    }
    Ok(done)
}

async fn unsuppress(overview: &Overview, value: &str) -> sqlx::Result<Suppression> {
    let done = overview.ledger.unsuppress(&overview.views, value, Ledger::now()).await?;
    let Suppression { before, claims, indicators, .. } = &done;
    if before.is_empty() {
        tracing::info!(
            value,
            "an operator asked to take a suppression back, and the value is not suppressed: nothing was changed"
        );
    } else {
        tracing::warn!(value, claims, indicators, "no longer suppressed, as an operator asked");
    }
    Ok(done)
}

fn suppression(done: sqlx::Result<Suppression>) -> Response {
    match done {
        Ok(done) => Response::Suppression { done },
        Err(error) => failed(&format!("the ledger cannot be written: {error}")),
    }
}

async fn suppressed(overview: &Overview) -> Response {
    match overview.ledger.suppressed().await {
        Ok(suppressed) => Response::Suppressed { suppressed },
        Err(error) => failed(&format!("the ledger cannot be read: {error}")),
    }
}

/// One at a time: each keeps one of the ledger's few readers. A client that takes nothing for a
/// while is hung up on, since its snapshot keeps the WAL growing.
async fn say_all(
    what: Long,
    overview: &Overview,
    writer: &mut OwnedWriteHalf,
    long: &Semaphore,
) -> io::Result<Response> {
    let is_short = matches!(what, Long::Explain { .. });
    let turn = if is_short { None } else { long.try_acquire().ok() };
    if turn.is_none() && !is_short {
        return Ok(failed("another export or check is running: try again when it has ended"));
    }
    let (chunks, mut made) = mpsc::channel(2);
    let making = stream::make(what, &overview.ledger, &overview.views, chunks);
    let writing = async move {
        while let Some(chunk) = made.recv().await {
            let written = timeout(IDLE, writer.write_all(&chunk)).await;
            written.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        }
        Ok::<_, io::Error>(())
    };
    let (made, written) = tokio::join!(making, writing);
    written?;
    Ok(match made {
        Ok(()) => Response::End,
        Err(error) => failed(&format!("the ledger cannot be read: {error}")),
    })
}

/// Ends when the client is gone.
async fn verify(
    asked: (Option<String>, bool),
    overview: &Overview,
    writer: &mut OwnedWriteHalf,
) -> io::Result<Response> {
    if asked.1 {
        tracing::info!(of = asked.0, "Sentinel is compared and repaired, as an operator asked");
    }
    let readback = Arc::clone(&overview.readback);
    say_lines(writer, |lines| readback.verify(overview.ledger.clone(), asked, lines)).await
}

/// Ends when the client is gone.
async fn cleanup(
    cleanup: Cleanup,
    overview: &Overview,
    writer: &mut OwnedWriteHalf,
) -> io::Result<Response> {
    if cleanup.apply {
        let Cleanup { sourcesystem, target, revoke, .. } = &cleanup;
        tracing::warn!(
            sourcesystem,
            of = target,
            revoke,
            "another product's indicators are ended, as an operator asked"
        );
    }
    let readback = Arc::clone(&overview.readback);
    say_lines(writer, |lines| readback.cleanup(cleanup, lines)).await
}

/// Lines as they are made.
async fn say_lines<F: Future<Output = Result<(), NothingToAsk>>>(
    writer: &mut OwnedWriteHalf,
    make: impl FnOnce(mpsc::Sender<Line>) -> F,
) -> io::Result<Response> {
    let (lines, mut made) = mpsc::channel::<Line>(8);
    let making = make(lines);
    let writing = async move {
        while let Some(line) = made.recv().await {
            let mut line: Vec<u8> = serde_json::to_vec(&line)?;
            line.push(b'\n');
            let written = timeout(IDLE, writer.write_all(&line)).await;
            written.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        }
        Ok::<_, io::Error>(())
    };
    let (ended, written) = tokio::join!(making, writing);
    written?;
    Ok(match ended {
        Ok(()) => Response::End,
        Err(error) => failed(&error.to_string()),
    })
}

async fn retry(target: Option<&str>, overview: &Overview) -> Response {
    let known: Vec<String> = (overview.targets)().into_iter().map(|health| health.target).collect();
    if let Err(error) = known_target(target, &known) {
        return Response::Failed { error };
    }
    match overview.ledger.retry_rejected(target, Ledger::now()).await {
        Ok(objects) => {
            log_retried(target, objects);
            Response::Retried { objects }
        }
        Err(error) => Response::Failed { error: format!("the ledger cannot be written: {error}") },
    }
}

fn log_retried(of: Option<&str>, objects: u64) {
    tracing::info!(of, objects, "rejected objects are pending again, as an operator asked");
}

/// Whether the target exists; if not, which do.
pub(super) fn known_target(target: Option<&str>, known: &[String]) -> Result<(), String> {
    match target {
        Some(target) if !known.iter().any(|name| name == target) => {
            Err(format!("there is no enabled target {target:?}; there is: {}", known.join(", ")))
        }
        _ => Ok(()),
    }
}
