//! Starts the proxy, asks it three times, tells what that cost, and stops it.

use std::error::Error;

use example_embedded::{ask, spent, start};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let proxy = start()?;
    println!("http://{}/v1, metrics on http://{}/metrics", proxy.address(), proxy.admin_address());
    for question in ["hello?", "anybody there?", "a third one in this hour?"] {
        println!("\n{question}\n{}", ask(&proxy, "ann", question)?);
    }
    println!("\n{}", spent(&proxy).join("\n"));
    // Open requests may finish; what is left after the policy's `drain` is cut off and counted.
    println!("{} connections cut off", proxy.stop());
    Ok(())
}
