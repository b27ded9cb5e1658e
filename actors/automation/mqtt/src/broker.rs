//! A broker for a home that has none: Mosquitto, as a child process whose settings keep what it was given.
//!
//! Why this one and not a broker within the process: docs/decisions/0016-mqtt-bridge.md. `jarvis up` starts it where the
//! program is installed; it listens on loopback unless told otherwise, and is ended with its [`Broker`].

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jarvis_config::Secret;
use jarvis_host::{Entropy, StopReport, Tasks};
use ring::pbkdf2;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// What it is called.
const PROGRAM: &str = "mosquitto";
/// Where Debian and others put it; the search path of a person or a service often lacks these.
const FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"];
/// Messages kept for a session that is away. The default of 1,000 is less than a night of a chatty house.
const MAX_QUEUED_MESSAGES: u32 = 100_000;
/// Bytes kept for a session that is away.
const MAX_QUEUED_BYTES: u32 = 64 * 1_024 * 1_024;
/// Messages under way to a session; 0: no bound. Before 2.0.13 it miscounts them where there is one, and keeps a part of what
/// it queued to itself until the next connection. The bridge bounds what it takes in by itself.
const MAX_INFLIGHT_MESSAGES: u32 = 0;
/// Largest message.
const MESSAGE_SIZE_LIMIT_BYTES: u32 = 256 * 1_024;
/// Rounds of the hash of a password. It is random, so that a guess at it does not begin anywhere.
const HASH_ROUNDS: std::num::NonZeroU32 = std::num::NonZeroU32::new(1_000).expect("more than none");
const SALT_BYTES: usize = 12;
const HASH_BYTES: usize = 64;
/// How long it may take to listen.
const START: Duration = Duration::from_secs(5);
/// How long it may take to write what it keeps, and end.
const STOP: Duration = Duration::from_secs(5);
/// The pause before it is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How a broker is to run.
#[derive(Debug, Clone)]
pub struct BrokerOptions {
    /// Where its settings and what it keeps lie. Made if it is not there.
    pub dir: PathBuf,
    /// Where it listens. A broker in a home listens on loopback until someone wants devices to come.
    pub listen: SocketAddr,
    /// Who may come in; none: everyone who reaches it.
    pub login: Option<(String, Secret)>,
    /// After so many changes all is written down: at most that is lost at a power cut. Each time the whole is written, so 1
    /// costs a broker that keeps thousands of messages all but 160 a second, and an SD card its life; 100 costs little.
    pub save_every_changes: u32,
    /// The program; none: [`Broker::program`].
    pub program: Option<PathBuf>,
    /// A program and the first of its arguments by which it is started; none: at once. It has to become what stands after
    /// them, in the same process.
    pub through: Vec<OsString>,
}

/// Why there is no broker.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// It is not on this machine.
    #[error("mosquitto is not installed; install it (Debian: apt-get install mosquitto), or set [mqtt] url")]
    NotInstalled,
    /// Its files cannot be written.
    #[error("{} cannot be written", path.display())]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It cannot be started.
    #[error("{} cannot be started", program.display())]
    Unstartable {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Someone else listens there, or nobody may.
    #[error("{address} cannot be listened on")]
    Taken {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It ended at once.
    #[error("mosquitto ended at once ({status}); {} says why", log.display())]
    Ended {
        /// How.
        status: ExitStatus,
        /// Its log.
        log: PathBuf,
    },
    /// It does not listen.
    #[error("mosquitto does not listen on {address} after {START:?}")]
    Deaf {
        /// Where it should.
        address: SocketAddr,
    },
    /// The user cannot be written down.
    #[error("a user's name is not empty and has no ':' and no control characters")]
    BadUser,
}

/// A broker that runs. Started again when it ends by itself; ended when this is dropped.
#[derive(Debug)]
pub struct Broker {
    address: SocketAddr,
    tasks: Tasks,
}

impl Drop for Broker {
    fn drop(&mut self) {
        // The process is killed with the task's end where it has not ended by then.
        self.tasks.cancel();
    }
}

/// What it takes to start it, again and again.
struct Starter {
    program: PathBuf,
    through: Vec<OsString>,
    config: PathBuf,
    log: PathBuf,
    address: SocketAddr,
}

impl Broker {
    /// Where the program is, if it is installed.
    pub fn program() -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(FOLDERS.iter().map(PathBuf::from))
            .map(|folder| folder.join(PROGRAM))
            .find(|path| path.is_file())
    }

    /// Starts it, and returns when it listens.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn start(
        tasks: &Tasks,
        options: &BrokerOptions,
        entropy: &Arc<dyn Entropy>,
    ) -> Result<Self, BrokerError> {
        let found = options.program.clone().or_else(Self::program);
        let program = found
            .filter(|path| path.is_file())
            .ok_or(BrokerError::NotInstalled)?;
        let config = configure(options, &**entropy)?;
        let starter = Starter {
            program,
            through: options.through.clone(),
            config,
            log: options.dir.join("mosquitto.log"),
            address: options.listen,
        };
        let child = starter.start().await?;
        let tasks = tasks.child();
        let inner = tasks.clone();
        tasks.spawn(async move { supervise(starter, child, inner).await });
        Ok(Self {
            address: options.listen,
            tasks,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it in order: it writes what it keeps. Says whether it did.
    pub async fn stop(self) -> bool {
        self.tasks.stop(STOP + LOOK_EVERY).await == StopReport::Clean
    }
}

impl Starter {
    async fn start(&self) -> Result<Child, BrokerError> {
        // Whether it listens is asked by connecting: nobody else may answer.
        let address = self.address;
        drop(std::net::TcpListener::bind(address).map_err(|source| BrokerError::Taken { address, source })?);
        let log = std::fs::File::create(&self.log).map_err(|source| BrokerError::Unwritable {
            path: self.log.clone(),
            source,
        })?;
        let mut command = match self.through.split_first() {
            None => Command::new(&self.program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&self.program);
                command
            }
        };
        let mut child = command
            .arg("-c")
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // Ctrl-C is for whoever started it, who ends it when all that need it have ended.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| BrokerError::Unstartable {
                program: self.program.clone(),
                source,
            })?;
        let listening = async {
            loop {
                if let Ok(Some(status)) = child.try_wait() {
                    return Err(BrokerError::Ended {
                        status,
                        log: self.log.clone(),
                    });
                }
                if tokio::net::TcpStream::connect(self.address).await.is_ok() {
                    return Ok(());
                }
                sleep(LOOK_EVERY).await;
            }
        };
        match timeout(START, listening).await {
            Ok(result) => result.map(|()| child),
            Err(_) => Err(BrokerError::Deaf {
                address: self.address,
            }),
        }
    }
}

/// Keeps it running until it is to end.
async fn supervise(starter: Starter, mut child: Child, tasks: Tasks) {
    loop {
        let status = tokio::select! {
            status = child.wait() => status,
            () = tasks.cancelled() => return end(child).await,
        };
        tracing::warn!(?status, log = %starter.log.display(), "the broker ended by itself and is started again");
        child = loop {
            tokio::select! {
                () = sleep(RESTART_PAUSE) => {}
                () = tasks.cancelled() => return,
            }
            match starter.start().await {
                Ok(child) => break child,
                Err(error) => tracing::warn!(%error, "the broker cannot be started again yet"),
            }
        };
    }
}

/// Asks it to end, and sees that it does.
async fn end(mut child: Child) {
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = kill_process(pid, Signal::TERM)
    {
        tracing::debug!(%error, "the broker cannot be asked to end");
    }
    if timeout(STOP, child.wait()).await.is_err() {
        tracing::warn!("the broker does not end and is killed; it may lose what it did not write");
        if let Err(error) = child.kill().await {
            tracing::warn!(%error, "the broker cannot be killed");
        }
    }
}

/// Writes its settings; gives the file.
fn configure(options: &BrokerOptions, entropy: &dyn Entropy) -> Result<PathBuf, BrokerError> {
    let unwritable = |path: &Path| {
        let path = path.to_owned();
        move |source| BrokerError::Unwritable { path, source }
    };
    let dir = &options.dir;
    std::fs::create_dir_all(dir).map_err(unwritable(dir))?;
    let access = match &options.login {
        None => "allow_anonymous true".to_owned(),
        Some((user, password)) => {
            let path = dir.join("passwords");
            std::fs::write(&path, password_line(user, password, entropy)?).map_err(unwritable(&path))?;
            format!("allow_anonymous false\npassword_file {}", path.display())
        }
    };
    // Started by root it would go on as a user who may not write here.
    let user = if rustix::process::geteuid().is_root() {
        "user root\n"
    } else {
        ""
    };
    let text = format!(
        "# Written by jarvis at every start; changes are lost.\n{user}persistence true\npersistence_location {}/\n\
         autosave_on_changes true\nautosave_interval {}\nmax_queued_messages {MAX_QUEUED_MESSAGES}\n\
         max_queued_bytes {MAX_QUEUED_BYTES}\nmax_inflight_messages {MAX_INFLIGHT_MESSAGES}\n\
         message_size_limit {MESSAGE_SIZE_LIMIT_BYTES}\nset_tcp_nodelay true\nlistener {} {}\n{access}\n",
        dir.display(),
        options.save_every_changes.max(1),
        options.listen.port(),
        options.listen.ip(),
    );
    let path = dir.join("mosquitto.conf");
    std::fs::write(&path, text).map_err(unwritable(&path))?;
    Ok(path)
}

/// A user as Mosquitto writes one down: PBKDF2 with SHA-512. The password itself is on no disk and no command line.
fn password_line(user: &str, password: &Secret, entropy: &dyn Entropy) -> Result<String, BrokerError> {
    if user.is_empty() || user.contains(|c: char| c == ':' || c.is_control()) {
        return Err(BrokerError::BadUser);
    }
    let mut salt = [0; SALT_BYTES];
    entropy.fill(&mut salt);
    let mut hash = [0; HASH_BYTES];
    let password = password.expose().as_bytes();
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA512,
        HASH_ROUNDS,
        &salt,
        password,
        &mut hash,
    );
    Ok(format!(
        "{user}:$7${HASH_ROUNDS}${}${}\n",
        STANDARD.encode(salt),
        STANDARD.encode(hash)
    ))
}
