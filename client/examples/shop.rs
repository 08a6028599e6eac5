//! The program that README.md shows, here so that it is compiled. `cargo run --example shop` runs it beside `quorate demo`.

use quorate_client::{Client, Level, Outcome};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kv = Client::connect("127.0.0.1:7400,127.0.0.1:7401").await?;
    let read = kv.get("cart:7").level(Level::Quorum).await?;
    let written = kv.put("cart:7", "bread").context(read.context()).await?; // replaces exactly what was read

    let eggs = || kv.put("cart:7", "eggs").context(written.context());
    match eggs().await {
        Ok(written) => println!("{:?}", written.receipt()),
        Err(error) if error.outcome() == Outcome::NotApplied => return Err(error.into()), // nothing happened, nothing will
        Err(error) => {
            // It may have happened. Under its own id a retry finds the earlier write, instead of making another one beside it.
            let op = error.op().expect("a write that was sent has an id");
            eggs().op_id(op).await?;
        }
    }
    Ok(())
}
