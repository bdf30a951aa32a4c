//! Sessions that are asked for inside another one.

use super::*;

/// This program again in the place of `avouch run`, in each way that a process leaves its parent.
fn escapes(agents: &str) -> String {
    let program = std::env::current_exe().unwrap();
    let run = format!(
        "env TEST_SESSION_AGENTS='{agents}' {} --exact session::tests::in_the_place_of_run --nocapture --test-threads=1",
        program.display()
    );
    // One after the other, so that what they say is in order.
    format!(
        "{run} </dev/null; setsid -w {run} </dev/null; nohup {run} </dev/null 2>/dev/null; \
         (({run} </dev/null; echo said:orphan done) & ); exec sleep 97.0419"
    )
}

async fn all_say(run: &mut Run, what: &[&str]) {
    for way in ["a child", "setsid", "nohup", "a double fork"] {
        for expected in what {
            let said = run.says().await;
            assert!(said.starts_with(expected), "{way}: {said}");
        }
        assert!(run.says().await.starts_with("below "), "{way}");
    }
    assert_eq!(run.says().await, "orphan done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_inside_a_session_may_run_its_own_agent_and_no_other_however_it_left_its_parent() {
    let rig = rig();
    // The first may be anybody's but for where it stands.
    let mut outside = rig.run("colleague");
    assert!(outside.says().await.starts_with("opened "));
    let mut run = rig.run_with("researcher", Some(&escapes("colleague,foreign,researcher")));
    assert!(run.says().await.starts_with("opened "));
    assert!(run.says().await.starts_with("below "));
    all_say(&mut run, &["refused inside_session ", "refused inside_session ", "opened "]).await;
    let events = rig.notes.0.lock().unwrap();
    let within = events.iter().filter(|event| matches!(event, HelperEvent::SessionOpened { within: Some(_), .. }));
    assert_eq!(within.count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_inside_another_gains_no_fact_and_ends_with_it() {
    let rig = rig();
    let mut run = rig.run_with("colleague", Some(&escapes("colleague~strict")));
    assert!(run.says().await.starts_with("opened "));
    assert!(run.says().await.starts_with("below "));
    let said = run.says().await;
    assert!(said.ends_with(" contained"), "{said}");
    let (caller, ended) = rig.proxy.0.lock().unwrap().last().unwrap().clone();
    assert!(caller.contained, "its way out is that of a contained one");
    let facts: Vec<_> = caller.facts.iter().map(avouch_words::Selector::as_str).collect();
    assert!(!facts.iter().any(|fact| fact.starts_with("session:contained:")), "the outer has no walls: {facts:?}");
    let opener = format!("session:uid:{}", rustix::process::geteuid().as_raw());
    assert!(facts.contains(&opener.as_str()), "whoever opened the outermost: {facts:?}");
    run.child.kill().unwrap();
    run.child.wait().unwrap();
    tokio::time::timeout(Duration::from_secs(2), ended.cancelled()).await.expect("it ends with the outer");
    rig.until(|rig| rig.sessions.is_empty()).await;
}
