//! The real servers that other tests stand on.

use avouch_tests::servers::{Bao, Postgres};

#[test]
fn openbao_starts_is_sealed_opened_and_stalled() {
    for bao in [Bao::start(), Bao::start_tls()] {
        let bao = bao.expect("OpenBao");
        bao.run(&["kv", "put", "-mount=secret", "one", "value=first"]).expect("put");
        assert_eq!(bao.run(&["kv", "get", "-mount=secret", "-field=value", "one"]).expect("get").trim(), "first");
        bao.seal().expect("sealed");
        let refused = bao.run(&["kv", "get", "-mount=secret", "one"]).expect_err("sealed").to_string();
        assert!(refused.contains("sealed"), "{refused}");
        bao.unseal().expect("opened");
        bao.stall().expect("stalled");
        bao.go_on().expect("going on");
        let said = bao.shell("bao kv get -mount=secret -field=value $WHICH", &[("WHICH", "one")]).expect("get");
        assert_eq!(said.trim(), "first");
    }
}

#[test]
fn postgres_outlives_the_kill_of_its_process() {
    let mut postgres = Postgres::start_durable().expect("Postgres");
    let url = postgres.database().expect("a database");
    let name = url.rsplit('/').next().expect("its name");
    postgres.sql(name, "CREATE TABLE kept AS SELECT 42 AS answer").expect("a table");
    postgres.kill().expect("killed");
    postgres.sql(name, "SELECT 1").expect_err("killed");
    postgres.start_again().expect("started again");
    let asked = postgres.sql_as("postgres", postgres.password(), name, "SELECT answer FROM kept").expect("an answer");
    assert_eq!(asked, "42");
    postgres.sql_as("postgres", "another password", name, "SELECT 1").expect_err("another password");
}
