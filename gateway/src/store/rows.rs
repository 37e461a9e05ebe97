//! Many rows by one statement.

use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments, AssertSqlSafe};

/// Most rows of one statement; fewer are brought up to a power of two, so that few statements are ever prepared.
pub(super) const MAX_ROWS: usize = 512;

/// Inserts rows of so many columns with one statement. Its surplus rows are not bound, so NULL, and left out.
pub(super) async fn insert(
    c: &mut SqliteConnection,
    table: &str,
    columns: usize,
    rows: usize,
    arguments: SqliteArguments,
) -> Result<(), sqlx::Error> {
    let row = format!("({})", vec!["?"; columns].join(","));
    let names: Vec<String> = (1..=columns).map(|n| format!("column{n}")).collect();
    let sql = format!(
        "INSERT INTO {table} SELECT {} FROM (VALUES {}) WHERE column1 IS NOT NULL",
        names.join(","),
        vec![row; rows.next_power_of_two()].join(",")
    );
    sqlx::query_with(AssertSqlSafe(sql), arguments).execute(c).await.map(|_| ())
}

/// Adds a value.
pub(super) fn bind<'t, T>(arguments: &mut SqliteArguments, value: T) -> Result<(), sqlx::Error>
where
    T: sqlx::Encode<'t, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    arguments.add(value).map_err(sqlx::Error::Encode)
}
