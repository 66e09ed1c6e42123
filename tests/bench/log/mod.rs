//! The log: what it takes in, how soon a witnessed checkpoint covers it, and what an auditor's pass over it costs.

mod alone;
mod appends;
mod audit;
mod hammer;
mod history;
mod stand;
mod witnessed;

use crate::report::Report;
use crate::size::Size;

pub(crate) async fn measure(size: &Size, report: &mut Report) -> anyhow::Result<()> {
    hammer::measure(size, report).await?;
    appends::measure(size, report).await?;
    alone::measure(report).await?;
    witnessed::measure(size, report).await?;
    audit::measure(size, report).await
}
