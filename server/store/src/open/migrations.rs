//! The schema of both databases, oldest first. A migration that was released is never edited; its checksum is compared.
//! Each is written for both, under one name.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// The migrations of one folder.
macro_rules! migrations {
    ($folder:literal: $($version:literal $name:literal $file:literal;)*) => {
        Migrator::with_migrations(vec![$(made(
            $version,
            $name,
            include_str!(concat!("../../migrations/", $folder, "/", $file, ".sql")),
        )),*])
    };
}

/// One list for both.
macro_rules! all {
    ($folder:literal) => {
        migrations!($folder:
            1 "init" "0001_init";
            2 "traces" "0002_traces";
            3 "reference" "0003_reference";
            4 "registrations" "0004_registrations";
            5 "federation" "0005_federation";
            6 "issuers" "0006_issuers";
        )
    };
}

pub(super) fn sqlite() -> Migrator {
    all!("sqlite")
}

pub(super) fn postgres() -> Migrator {
    all!("postgres")
}

fn made(version: i64, name: &'static str, sql: &'static str) -> Migration {
    Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
}
