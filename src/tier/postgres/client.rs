//! A pool of connections, and calls that end.

use std::error::Error as _;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{ClientWrapper, Hook, HookError, Manager, Object, Pool, PoolError, Runtime};
use futures_util::{FutureExt, future};
use scopeguard::ScopeGuard;
use tokio_postgres::Row;
use tokio_postgres::error::{DbError, SqlState};

use super::database::Database;
use super::statement::Statement;
use crate::error::Error;
use crate::remote::{Counter, Failed, Failure, Limits, attempt, wait};
use crate::sync::{Mutex, lock};

/// Connections of one engine for [`Purpose::Reading`] at most.
const READING: usize = 8;

/// How long a server that was given up is left alone: meanwhile calls fail at
/// once, so that nobody waits in a row for one that is away.
const REST: Duration = Duration::from_secs(1);

/// Neighbours that an index of vectors looks at: with 40, its default, pgvector
/// misses one of ten memories that are asked for by three fifths of their words.
pub(super) const NEIGHBOURS: usize = 100;

/// The part of a call's time after which the server is to break a statement off by
/// itself: so it says that it is there, and slow.
const OF_CALL: f64 = 0.9;

/// A database, for all threads of an engine.
#[derive(Clone)]
pub(super) struct Client(Arc<Shared>);

struct Shared {
    reading: Pool,
    writing: Pool,
    /// Names the server.
    name: String,
    limits: Limits,
    counter: Arc<Counter>,
    health: Mutex<Health>,
}

/// What a connection is for.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// For recalls and upkeep, side by side. Plans are made for the values of the
    /// parameters, because what an array holds decides which index is best.
    Reading,
    /// For what is done within the engine's lock, where it waits for nobody. There is one
    /// plan for all values: to plan with those of a batch, hundreds of kilobytes, takes a
    /// tenth of what storing it takes.
    Writing,
}

impl Purpose {
    const fn connections(self) -> usize {
        match self {
            Self::Reading => READING,
            Self::Writing => 1,
        }
    }

    /// PostgreSQL's name of how statements are planned.
    const fn plans(self) -> &'static str {
        match self {
            Self::Reading => "force_custom_plan",
            Self::Writing => "force_generic_plan",
        }
    }
}

/// What is known of a server.
#[derive(Default)]
struct Health {
    /// When it last answered.
    answered: Option<Instant>,
    /// When it was last given up; none once it has answered since.
    given_up: Option<Instant>,
}

/// What a statement gave.
pub(super) struct Answer {
    pub rows: Vec<Row>,
    /// How often it was made. All but the last may still arrive.
    pub attempts: u32,
}

impl Client {
    /// A client that has not called yet.
    ///
    /// # Errors
    /// [`Error::Refused`] if there can be no pool.
    pub(super) fn new(database: Database, limits: Limits) -> Result<Self, Error> {
        let reading = pool(&database, limits, Purpose::Reading)?;
        let writing = pool(&database, limits, Purpose::Writing)?;
        let (counter, health) = (Arc::default(), Mutex::default());
        Ok(Self(Arc::new(Shared { reading, writing, name: database.name, limits, counter, health })))
    }

    /// The server's name, without credentials.
    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    /// An answer that is not what was asked for.
    pub(super) fn misread(&self, error: &tokio_postgres::Error) -> Error {
        let message = CallError::message(error);
        Error::Refused { what: self.0.name.clone(), action: "answer as expected", message }
    }

    /// The error for a store that another engine has taken over.
    pub(super) fn fenced(&self) -> Error {
        Error::Fenced { path: self.0.name.clone().into() }
    }

    /// Whether the server was given up, and has not answered since.
    pub(super) fn is_given_up(&self) -> bool {
        lock(&self.0.health).given_up.is_some()
    }

    /// Counts what is sent and received: parameters and rows.
    pub(super) fn counter(&self) -> &Arc<Counter> {
        &self.0.counter
    }

    /// The rows that `statement` gives, in one round trip.
    ///
    /// # Errors
    /// [`Error::Unreachable`] or [`Error::Refused`].
    pub(super) fn query(&self, action: &'static str, statement: Statement) -> Result<Vec<Row>, Error> {
        self.ask(Purpose::Reading, action, statement).map(|answer| answer.rows)
    }

    /// As [`Client::query`], within the engine's lock: the rows, and how often the
    /// statement was made.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub(super) fn write(&self, action: &'static str, statement: Statement) -> Result<Answer, Error> {
        self.ask(Purpose::Writing, action, statement)
    }

    fn ask(&self, purpose: Purpose, action: &'static str, statement: Statement) -> Result<Answer, Error> {
        let limits = self.0.limits.carrying(statement.bytes() as u64);
        let statement = Arc::new(statement);
        let asked = self.call(action, limits, move |shared, nth| {
            let statement = statement.clone();
            async move {
                let connection = shared.connection(purpose).await?;
                shared.counter.request(statement.bytes());
                let rows = connection.rows(&statement, nth).await?;
                shared.counter.answer(rows.iter().map(Row::raw_size_bytes).sum());
                connection.give_back();
                Ok(rows)
            }
        });
        asked.map(|(rows, attempts)| Answer { rows, attempts })
    }

    /// Does `work` on one connection, within `limits`.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub(super) fn with_connection<T: Send + 'static, F>(
        &self,
        purpose: Purpose,
        action: &'static str,
        limits: Limits,
        work: impl Fn(Connection) -> F + Send + Sync + 'static,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<(T, Connection), CallError>> + Send,
    {
        let work = Arc::new(work);
        let done = self.call(action, limits, move |shared, _| {
            let work = work.clone();
            async move {
                shared.counter.request(0);
                let (answer, connection) = work(shared.connection(purpose).await?).await?;
                connection.give_back();
                Ok(answer)
            }
        });
        done.map(|(answer, _)| answer)
    }

    /// The answer, and the attempts that it took; `work` is told which one it is.
    fn call<T: Send + 'static, F>(
        &self,
        action: &'static str,
        limits: Limits,
        work: impl Fn(Arc<Shared>, u32) -> F + Send + Sync + 'static,
    ) -> Result<(T, u32), Error>
    where
        F: Future<Output = Result<T, CallError>> + Send,
    {
        let shared = self.0.clone();
        let limits = self.0.allowed(limits, action)?;
        let began = Instant::now();
        let (answer, attempts) = wait(async move {
            let mut attempts = 0;
            let call = || {
                attempts += 1;
                let (shared, work) = (&shared, work(shared.clone(), attempts));
                async move {
                    let answer = work.await;
                    if answer.as_ref().err().is_none_or(CallError::is_answer) {
                        shared.has_answered();
                    }
                    answer
                }
            };
            let answer = attempt(limits, &shared.name, action, &shared.counter, call).await;
            (answer, attempts)
        })?;
        let answer = answer.map_err(|failure| match failure {
            Failure::Unreachable(error) => {
                self.0.give_up(began);
                error
            }
            Failure::Refused(error) => {
                Error::Refused { what: self.0.name.clone(), action, message: error.to_string() }
            }
        })?;
        Ok((answer, attempts))
    }
}

fn pool(database: &Database, limits: Limits, purpose: Purpose) -> Result<Pool, Error> {
    // No scan of the tables of all engines, however new their statistics are.
    let session = format!(
        "SET statement_timeout = {}; SET plan_cache_mode = {}; SET enable_seqscan = off; SET jit = off; \
         SET hnsw.ef_search = {NEIGHBOURS}",
        limits.call.mul_f64(OF_CALL).as_millis(),
        purpose.plans()
    );
    let set_up = Hook::async_fn(move |client: &mut ClientWrapper, _| {
        let session = session.clone();
        Box::pin(async move { client.batch_execute(&session).await.map_err(HookError::Backend) })
    });
    let pool = Pool::builder(Manager::new(database.config.clone(), database.tls.clone()))
        .max_size(purpose.connections())
        .runtime(Runtime::Tokio1)
        // Also where the statements may take longer.
        .wait_timeout(Some(limits.call))
        .create_timeout(Some(limits.call))
        .recycle_timeout(Some(limits.call))
        .post_create(set_up)
        .build();
    pool.map_err(|error| Error::Refused {
        what: database.name.clone(),
        action: "make a pool",
        message: error.to_string(),
    })
}

impl Shared {
    /// Of a server that was given up, one attempt is asked for in each [`REST`].
    fn allowed(&self, limits: Limits, action: &'static str) -> Result<Limits, Error> {
        let mut health = lock(&self.health);
        let Some(since) = health.given_up else { return Ok(limits) };
        if since.elapsed() < REST {
            let message = format!("given up {} ms ago", since.elapsed().as_millis());
            return Err(Error::Unreachable { what: self.name.clone(), action, attempts: 0, message });
        }
        health.given_up = Some(Instant::now());
        Ok(Limits { attempts: 1, ..limits })
    }

    fn has_answered(&self) {
        *lock(&self.health) = Health { answered: Some(Instant::now()), given_up: None };
    }

    /// Gives the server up, unless it has answered anybody since `began`.
    fn give_up(&self, began: Instant) {
        let mut health = lock(&self.health);
        if health.answered.is_none_or(|answered| answered < began) {
            health.given_up = Some(Instant::now());
        }
    }

    async fn connection(&self, purpose: Purpose) -> Result<Connection, CallError> {
        let pool = match purpose {
            Purpose::Reading => &self.reading,
            Purpose::Writing => &self.writing,
        };
        let close: fn(Object) = |object| drop(Object::take(object));
        Ok(Connection(scopeguard::guard(pool.get().await?, close)))
    }
}

/// A connection of a pool. Unless it is given back it is closed: an answer
/// that nobody has waited for may still be on its way.
pub(super) struct Connection(ScopeGuard<Object, fn(Object)>);

impl Connection {
    /// The rows of a statement. One that this connection has not prepared yet is sent
    /// as it is, with its types, right behind the request to prepare it for the next
    /// time: a recall has so many forms that each connection would long meet new ones. An
    /// error of the first does not mean that the second was not sent.
    async fn rows(&self, statement: &Statement, attempt: u32) -> Result<Vec<Row>, tokio_postgres::Error> {
        let (sql, parameters) = (statement.sql(attempt), statement.parameters());
        let mut preparing = pin!(self.prepare_cached(sql));
        if let Some(prepared) = preparing.as_mut().now_or_never() {
            let values: Vec<_> = parameters.into_iter().map(|(value, _)| value).collect();
            return self.query(&prepared?, &values).await;
        }
        let asked = self.query_typed(sql, &parameters);
        let (_, rows) = future::try_join(preparing, asked).await?;
        Ok(rows)
    }

    pub(super) fn give_back(self) {
        drop(ScopeGuard::into_inner(self.0));
    }
}

impl std::ops::Deref for Connection {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.0
    }
}

impl std::ops::DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Object {
        &mut self.0
    }
}

/// Why one attempt failed.
#[derive(Debug)]
pub(super) struct CallError(PoolError);

impl CallError {
    fn database(&self) -> Option<&DbError> {
        match &self.0 {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                error.as_db_error()
            }
            _ => None,
        }
    }

    /// What an error says: neither detail nor hint, which may hold values of rows.
    fn message(error: &tokio_postgres::Error) -> String {
        match (error.as_db_error(), error.source()) {
            (Some(answer), _) => format!("{}: {}", answer.code().code(), answer.message()),
            (None, Some(source)) => format!("{error}: {source}"),
            (None, None) => error.to_string(),
        }
    }

    /// Whether a server has said so that does its work.
    fn is_answer(&self) -> bool {
        !self.passes() || self.database().is_some_and(|error| *error.code() == SqlState::QUERY_CANCELED)
    }
}

impl Failed for CallError {
    /// The connection failed, or the server said that it cannot now.
    fn passes(&self) -> bool {
        const NOW: [SqlState; 7] = [
            SqlState::TOO_MANY_CONNECTIONS,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::QUERY_CANCELED,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::T_R_SERIALIZATION_FAILURE,
        ];
        self.database()
            .is_none_or(|error| NOW.contains(error.code()) || error.code().code().starts_with("08"))
    }

    fn reason(&self) -> String {
        self.to_string()
    }
}

impl From<PoolError> for CallError {
    fn from(error: PoolError) -> Self {
        Self(error)
    }
}

impl From<tokio_postgres::Error> for CallError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self(PoolError::Backend(error))
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = match &self.0 {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => error,
            other => return write!(f, "{other}"),
        };
        f.write_str(&Self::message(error))
    }
}
