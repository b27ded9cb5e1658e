//! The web page in a real browser: log in, talk, lose the node, go on talking.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fantoccini::{Client, ClientBuilder, Locator};
use jarvis_chaos::cluster::{Cluster, Options, find_jarvis};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(30);

struct Browser {
    client: Client,
    driver: Child,
    _profile: TempDir,
}

impl Browser {
    async fn start() -> Result<Self> {
        let mut driver = Command::new("chromedriver");
        driver
            .args(["--port=0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut driver = driver
            .spawn()
            .context("chromedriver does not start: make setup")?;
        let mut lines = BufReader::new(driver.stdout.take().context("stdout is piped")?).lines();
        let port = timeout(PATIENCE, async {
            while let Some(line) = lines.next_line().await? {
                if let Some((_, port)) = line.split_once("started successfully on port ") {
                    return anyhow::Ok(port.trim_end_matches('.').parse::<u16>()?);
                }
            }
            anyhow::bail!("chromedriver did not name its port")
        })
        .await??;
        let profile = tempfile::tempdir()?;
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--window-size=390,844".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let mut capabilities = serde_json::Map::new();
        capabilities.insert("goog:chromeOptions".into(), json!({"args": arguments}));
        capabilities.insert("goog:loggingPrefs".into(), json!({"browser": "ALL"}));
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await?;
        Ok(Self {
            client,
            driver,
            _profile: profile,
        })
    }

    async fn text(&self, css: &str) -> Result<String> {
        Ok(self.client.find(Locator::Css(css)).await?.text().await?)
    }

    async fn wait_text(&self, css: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let started = Instant::now();
        loop {
            let text = self.text(css).await.unwrap_or_default();
            if wanted(&text) {
                return Ok(text);
            }
            ensure!(
                started.elapsed() < PATIENCE,
                "{css} never came to hold what was wanted; it has {text:?}"
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn click(&self, css: &str) -> Result<()> {
        let wait = self.client.wait().at_most(PATIENCE);
        wait.for_element(Locator::Css(css)).await?.click().await?;
        Ok(())
    }

    async fn say(&self, text: &str) -> Result<()> {
        let input = self
            .client
            .wait()
            .at_most(PATIENCE)
            .for_element(Locator::Css("#input"))
            .await?;
        input.send_keys(text).await?;
        self.client.find(Locator::Css("#send")).await?.click().await?;
        Ok(())
    }

    async fn stop(mut self) -> Result<()> {
        self.client.close().await?;
        self.driver.kill().await?;
        Ok(())
    }
}

#[tokio::test]
async fn a_conversation_in_the_browser_survives_its_node() -> Result<()> {
    let data = tempfile::tempdir()?;
    let mut cluster = Cluster::start(&data, Options::unlimited(find_jarvis()?)).await?;
    let browser = Browser::start().await?;
    browser
        .client
        .goto(&format!(
            "{}/#token={}",
            cluster.url.trim_end_matches('/'),
            cluster.token
        ))
        .await?;
    browser.say("17 * 3").await?;
    browser.wait_text("#log", |log| log.contains("51")).await?;
    let address = browser.client.current_url().await?;
    ensure!(
        !address.as_str().contains(&cluster.token),
        "the token stays in the address bar: {address}"
    );

    let serving = browser
        .wait_text("#serving", |text| {
            cluster.nodes.iter().any(|n| text.contains(&n.name))
        })
        .await?;
    let owner = browser
        .wait_text("#owner", |text| {
            cluster.nodes.iter().any(|n| text.contains(&n.name))
        })
        .await?;
    let gateway = cluster
        .nodes
        .iter()
        .find(|n| serving.contains(&n.name))
        .context("a node serves")?
        .name
        .clone();
    println!("served by {serving}, owned by {owner}; killing {gateway}");
    cluster.kill(&gateway)?;
    browser
        .wait_text("#serving", |text| !text.is_empty() && !text.contains(&gateway))
        .await?;
    browser.say("6 * 7").await?;
    let log = browser.wait_text("#log", |log| log.contains("42")).await?;
    ensure!(log.contains("51"), "what was said before is gone: {log}");
    ensure!(log.matches("17 * 3").count() <= 2, "said twice: {log}");

    browser.client.refresh().await.ok();
    cluster.wait_whole().await?;
    browser
        .client
        .goto(&format!("{}/", cluster.url.trim_end_matches('/')))
        .await?;
    browser
        .wait_text("#log", |log| log.contains("51") && log.contains("42"))
        .await?;
    if let Ok(folder) = std::env::var("JARVIS_SCREENSHOTS") {
        std::fs::write(format!("{folder}/page.png"), browser.client.screenshot().await?)?;
    }
    browser.stop().await?;
    cluster.stop().await?;
    Ok(())
}

#[tokio::test]
async fn without_a_login_the_page_asks_for_one_and_says_what_is_wrong() -> Result<()> {
    let data = tempfile::tempdir()?;
    let mut options = Options::unlimited(find_jarvis()?);
    options.nodes = 1;
    let cluster = Cluster::start(&data, options).await?;
    let browser = Browser::start().await?;
    browser.client.goto(&cluster.url).await?;
    let user = browser
        .client
        .wait()
        .at_most(PATIENCE)
        .for_element(Locator::Css("#user"))
        .await?;
    user.send_keys("admin").await?;
    browser
        .client
        .find(Locator::Css("#password"))
        .await?
        .send_keys("certainly wrong")
        .await?;
    browser
        .client
        .find(Locator::Css("#login button[type=submit]"))
        .await?
        .click()
        .await?;
    browser
        .wait_text("#login", |text| {
            text.to_lowercase().contains("password") || text.contains("mot de passe")
        })
        .await?;
    let logged = browser
        .client
        .find(Locator::Css("#log"))
        .await?
        .is_displayed()
        .await?;
    ensure!(!logged, "the transcript shows without a login");
    browser.stop().await?;
    cluster.stop().await?;
    Ok(())
}

const HELLO: &str = "
- id: hello
  alias: Hello there
  triggers: [{trigger: event, event_type: hello}]
  actions:
    - event: greeted
    - wait_for_trigger: [{trigger: event, event_type: go_on}]
";

#[tokio::test]
async fn an_automation_is_run_and_followed_in_the_browser() -> Result<()> {
    let data = tempfile::tempdir()?;
    let mut options = Options::unlimited(find_jarvis()?);
    options.nodes = 1;
    let cluster = Cluster::start(&data, options).await?;
    let (eyes, node) = (cluster.eyes(), &cluster.nodes[0]);
    let files = json!({"files": [{"name": "hello.yaml", "text": HELLO}]});
    let started = Instant::now();
    // The bridge may be on its way up.
    while let Err(error) = eyes.post(node, "/api/v1/automations", &files).await {
        ensure!(started.elapsed() < PATIENCE, "nothing was loaded: {error}");
        sleep(Duration::from_millis(100)).await;
    }
    let browser = Browser::start().await?;
    let base = cluster.url.trim_end_matches('/');
    let address = format!("{base}/#token={}", cluster.token);
    browser.client.goto(&address).await?;
    browser.wait_text("#serving", |text| text.len() > 1).await?;
    browser.click("#view-automations").await?;
    browser
        .wait_text("#automation-list", |list| {
            list.contains("Hello there") && list.contains("never run")
        })
        .await?;
    let talks = browser.client.find(Locator::Css("#composer")).await?;
    ensure!(!talks.is_displayed().await?, "both views show at once");
    browser.click("[data-id=hello] .run").await?;
    browser.click("[data-id=hello] .open").await?;
    browser
        .wait_text("#run-list", |runs| runs.contains("under way"))
        .await?;
    browser
        .wait_text("#steps", |steps| {
            steps.contains("triggered by") && steps.contains("sent the event greeted")
        })
        .await?;
    // It goes on, and the page with it.
    eyes.post(node, "/api/v1/events/go_on", &json!({})).await?;
    browser
        .wait_text("#run-list", |runs| runs.contains("finished after"))
        .await?;
    let steps = browser.text("#steps").await?;
    ensure!(
        steps.contains("what it waited for came") && steps.contains("action/1") && steps.contains(&node.name),
        "{steps}"
    );
    if let Ok(folder) = std::env::var("JARVIS_SCREENSHOTS") {
        std::fs::write(
            format!("{folder}/automations.png"),
            browser.client.screenshot().await?,
        )?;
    }
    browser.click("#automation-controls [role=switch]").await?;
    let off = "#automation-controls [role=switch][aria-checked=false]";
    let switched = browser.client.wait().at_most(PATIENCE);
    switched.for_element(Locator::Css(off)).await?;
    let shown = cluster.get(node, "/api/v1/automations/hello").await?;
    ensure!(shown["enabled"] == false, "{shown}");
    browser.click("#automation-back").await?;
    browser
        .wait_text("#automation-list", |list| list.contains("last run"))
        .await?;
    browser.click("#view-chat").await?;
    browser.say("6 * 7").await?;
    browser.wait_text("#log", |log| log.contains("42")).await?;
    browser.stop().await?;
    cluster.stop().await?;
    Ok(())
}
