//! A client that does nothing but send: what the same octets to the same sink cost without a spool.
//!
//! It talks as nullmta does: STARTTLS, AUTH PLAIN, then MAIL, RCPT and DATA at once, the content with its dot, and one
//! connection for a hundred messages.

use std::io;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Outcome;
use crate::server::{PASSWORD, USER};

/// Messages of one connection.
const MESSAGES: usize = 100;

/// Sends so many messages with this content over so many connections at once to that port of 127.0.0.1.
pub fn send(port: u16, ca_file: &Path, content: &[u8], connections: usize, messages: usize) -> Outcome<()> {
    let connector = connector(ca_file)?;
    let content: Arc<[u8]> = content.into();
    // As many threads as the daemon has.
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let share = |number: usize| messages / connections + usize::from(number < messages % connections);
        let sending =
            |number| tokio::spawn(send_some(port, connector.clone(), share(number), content.clone()));
        let sending: Vec<_> = (0..connections).map(sending).collect();
        for connection in sending {
            connection.await??;
        }
        Ok(())
    })
}

fn connector(ca_file: &Path) -> Outcome<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca_file)?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn send_some(
    port: u16,
    connector: TlsConnector,
    mut messages: usize,
    content: Arc<[u8]>,
) -> io::Result<()> {
    let login = STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
    // The final dot and its line are not counted.
    let size = content.len() - 3;
    let envelope =
        format!("MAIL FROM:<ann@example.org> SIZE={size}\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n");
    while messages > 0 {
        let mut plain = TcpStream::connect(("127.0.0.1", port)).await?;
        plain.set_nodelay(true)?;
        hear(&mut plain, 1).await?;
        say(&mut plain, b"EHLO bench.example\r\n", 1).await?;
        say(&mut plain, b"STARTTLS\r\n", 1).await?;
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let mut stream = connector.connect(name, plain).await?;
        say(&mut stream, b"EHLO bench.example\r\n", 1).await?;
        say(&mut stream, format!("AUTH PLAIN {login}\r\n").as_bytes(), 1).await?;
        for _ in 0..messages.min(MESSAGES) {
            say(&mut stream, envelope.as_bytes(), 3).await?;
            say(&mut stream, &content, 1).await?;
        }
        messages -= messages.min(MESSAGES);
        say(&mut stream, b"QUIT\r\n", 1).await?;
    }
    Ok(())
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    octets: &[u8],
    replies: usize,
) -> io::Result<()> {
    stream.write_all(octets).await?;
    stream.flush().await?;
    hear(stream, replies).await
}

/// Reads so many replies; each must be a success.
async fn hear<S: AsyncRead + Unpin>(stream: &mut S, replies: usize) -> io::Result<()> {
    let mut heard = Vec::with_capacity(1024);
    loop {
        let lines = heard.split_inclusive(|octet| *octet == b'\n').filter(|line| line.ends_with(b"\n"));
        let last_lines: Vec<&[u8]> = lines.filter(|line| line.get(3) == Some(&b' ')).collect();
        if last_lines.iter().any(|line| !matches!(line[0], b'2' | b'3')) {
            return Err(io::Error::other(String::from_utf8_lossy(&heard).into_owned()));
        }
        if last_lines.len() >= replies {
            return Ok(());
        }
        if stream.read_buf(&mut heard).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
