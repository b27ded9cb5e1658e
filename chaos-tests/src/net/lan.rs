//! A bridge with a machine at the end of each cable.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::inside::run;
use super::weather::{Place, Weather};

/// The address of a machine, counted from 0, or of the clients.
pub fn address(machine: Option<u8>) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, machine.map_or(254, |machine| machine + 1))
}

/// The network.
#[derive(Debug)]
pub struct Lan {
    machines: u8,
}

impl Lan {
    /// Lays it out.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub async fn lay(machines: u8) -> Result<Self> {
        run("ip", &["link", "add", "hub", "type", "bridge"]).await?;
        run(
            "ip",
            &["addr", "add", &format!("{}/24", address(None)), "dev", "hub"],
        )
        .await?;
        run("ip", &["link", "set", "hub", "up"]).await?;
        for machine in 0..machines {
            let (space, cable) = (space(machine), format!("cable{machine}"));
            let own = format!("{}/24", address(Some(machine)));
            run("ip", &["netns", "add", &space]).await?;
            run(
                "ip",
                &[
                    "link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &space,
                ],
            )
            .await?;
            run("ip", &["link", "set", &cable, "master", "hub", "up"]).await?;
            run("ip", &["-n", &space, "addr", "add", &own, "dev", "eth0"]).await?;
            run("ip", &["-n", &space, "link", "set", "eth0", "up"]).await?;
            run("ip", &["-n", &space, "link", "set", "lo", "up"]).await?;
        }
        Ok(Self { machines })
    }

    /// A command that will run on a machine.
    pub fn on(&self, machine: u8, program: &std::path::Path) -> Command {
        let mut command = Command::new("nsenter");
        let space = PathBuf::from("/run/netns").join(space(machine));
        command.arg(format!("--net={}", space.display()));
        // It replaces itself by the program: the process that is started is the program's.
        command.arg("--").arg(program);
        command
    }

    /// Puts a weather in force everywhere, each place's rules as one transaction.
    ///
    /// # Errors
    /// Where nftables refuses.
    pub async fn weather(&self, weather: &Weather) -> Result<()> {
        let mut all = JoinSet::new();
        let mut nft = Command::new("nft");
        nft.args(["-f", "-"]);
        all.spawn(feed(nft, weather.rules(Place::Clients)));
        for machine in 0..self.machines {
            let mut nft = self.on(machine, "nft".as_ref());
            nft.args(["-f", "-"]);
            all.spawn(feed(nft, weather.rules(Place::Machine(machine))));
        }
        while let Some(done) = all.join_next().await {
            done??;
        }
        Ok(())
    }
}

fn space(machine: u8) -> String {
    format!("machine{machine}")
}

async fn feed(mut command: Command, text: String) -> Result<()> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("nft does not start: install nftables")?;
    let mut stdin = child.stdin.take().context("stdin is piped")?;
    stdin.write_all(text.as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    ensure!(
        output.status.success(),
        "nft refused: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
