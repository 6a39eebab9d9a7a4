//! A repository on a forge, as the address of a remote names it.

/// `owner/repo` on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forge {
    /// The host, in lower case: `github.com`, or that of a company.
    pub host: String,
    /// The owner, as it is spelled in the address.
    pub owner: String,
    /// The repository, without `.git`.
    pub repo: String,
}

impl Forge {
    /// `owner/repo`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.owner, self.repo)
    }

    /// What an address leads to: `https://host/owner/repo.git`, `ssh://git@host:22/owner/repo`, `git@host:owner/repo`.
    /// `None` for a path of this machine, and for an address that does not end in an owner and a repository.
    #[must_use]
    pub fn at(address: &str) -> Option<Forge> {
        let (authority, path) = match address.split_once("://") {
            Some(("file", _)) => return None,
            Some((_, rest)) => rest.split_once('/')?,
            // What ssh understands. A path with a colon in it has a slash before that.
            None => address.split_once(':').filter(|(host, _)| !host.contains('/'))?,
        };
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let host = host.split_once(':').map_or(host, |(host, _port)| host).to_ascii_lowercase();
        // Where a firewall lets ssh through on the port of https only.
        let host = if host == "ssh.github.com" { "github.com".to_owned() } else { host };
        let path = path.trim_matches('/');
        let (owner, repo) = path.strip_suffix(".git").unwrap_or(path).split_once('/')?;
        let name = |text: &str| {
            !text.is_empty() && !text.contains(['/', '*', '?', '#']) && !text.contains(char::is_whitespace)
        };
        // A host of one letter is a drive.
        let all = host.len() > 1 && name(owner) && name(repo);
        all.then(|| Forge { host, owner: owner.to_owned(), repo: repo.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_an_address_leads_to_the_same_repository() {
        for address in [
            "https://github.com/octo/hello",
            "https://github.com/octo/hello.git",
            "https://github.com/octo/hello/",
            "https://me:token@GitHub.com/octo/hello.git",
            "http://github.com:80/octo/hello",
            "git@github.com:octo/hello.git",
            "git@github.com:/octo/hello",
            "github.com:octo/hello",
            "ssh://git@github.com/octo/hello.git",
            "ssh://git@ssh.github.com:443/octo/hello.git",
            "git+ssh://git@github.com:22/octo/hello",
            "git://github.com/octo/hello.git",
        ] {
            let forge = Forge::at(address).unwrap();
            assert_eq!((&*forge.host, &*forge.name()), ("github.com", "octo/hello"), "{address}");
        }
        let company = Forge::at("git@ghe.example.com:Team/a.b_c-d.git").unwrap();
        assert_eq!((&*company.host, &*company.name()), ("ghe.example.com", "Team/a.b_c-d"));
    }

    #[test]
    fn what_does_not_lead_to_an_owner_and_a_repository_leads_nowhere() {
        for address in [
            "",
            "/srv/git/hello.git",
            "../hello",
            "./a:b/c",
            "file:///srv/octo/hello",
            "https://github.com/hello",
            "https://github.com",
            "git@github.com:hello",
            "https://gitlab.com/group/sub/hello",
            "C:/octo/hello",
            "https://github.com/oc to/hello",
            "https://github.com/octo/*",
            "https://github.com//hello",
        ] {
            assert_eq!(Forge::at(address), None, "{address}");
        }
    }
}
