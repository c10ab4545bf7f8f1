//! Where a cluster's objects outlive the process.

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

/// One object's new state for the disk: `None` removes it.
pub struct Put {
    /// `resource NUL namespace NUL name`.
    pub key: String,
    pub json: Option<bytes::Bytes>,
}

/// Durable storage as the writer needs it: everything read once at the start, then groups of puts.
pub trait Disk: Send {
    /// Hands every stored object to `visit` as its key and JSON; returns the last revision committed.
    ///
    /// # Errors
    /// When the disk cannot be read.
    fn load(&mut self, visit: &mut dyn FnMut(&str, &[u8])) -> Result<u64, DiskError>;

    /// Makes a group of puts and the revision durable, all or nothing; on return it survives a crash.
    ///
    /// # Errors
    /// When it cannot be written; nothing of the group is stored then.
    fn commit(&mut self, revision: u64, puts: &[Put]) -> Result<(), DiskError>;
}

#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error("database: {0}")]
    Database(#[from] Box<redb::Error>),
    #[error("stored object {key:?} cannot be read: {reason}")]
    Corrupt { key: String, reason: String },
    #[error("starting the writer thread: {0}")]
    Thread(std::io::Error),
}

impl DiskError {
    fn from_redb(error: impl Into<redb::Error>) -> DiskError {
        DiskError::Database(Box::new(error.into()))
    }
}

const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const REVISION: &str = "revision";
/// The database's page cache: everything is read once at the start and then served from memory.
const CACHE_BYTES: usize = 2 << 20;

/// The embedded database: one file.
pub struct RedbDisk {
    database: Database,
}

impl RedbDisk {
    /// Opens the database file, making it if it does not exist; repairs it after a crash.
    ///
    /// # Errors
    /// When the file cannot be opened, is in use by another process, or is not a database.
    pub fn open(path: &Path) -> Result<RedbDisk, DiskError> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(DiskError::from_redb)?;
        Ok(RedbDisk { database })
    }
}

impl Disk for RedbDisk {
    fn load(&mut self, visit: &mut dyn FnMut(&str, &[u8])) -> Result<u64, DiskError> {
        let read = self.database.begin_read().map_err(DiskError::from_redb)?;
        let objects = match read.open_table(OBJECTS) {
            Ok(objects) => objects,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(0),
            Err(error) => return Err(DiskError::from_redb(error)),
        };
        for entry in objects.iter().map_err(DiskError::from_redb)? {
            let (key, json) = entry.map_err(DiskError::from_redb)?;
            visit(key.value(), json.value());
        }
        let meta = read.open_table(META).map_err(DiskError::from_redb)?;
        let revision = meta.get(REVISION).map_err(DiskError::from_redb)?;
        Ok(revision.map_or(0, |revision| revision.value()))
    }

    fn commit(&mut self, revision: u64, puts: &[Put]) -> Result<(), DiskError> {
        let write = self.database.begin_write().map_err(DiskError::from_redb)?;
        {
            let mut objects = write.open_table(OBJECTS).map_err(DiskError::from_redb)?;
            for put in puts {
                match &put.json {
                    Some(json) => objects.insert(put.key.as_str(), json.as_ref()),
                    None => objects.remove(put.key.as_str()),
                }
                .map_err(DiskError::from_redb)?;
            }
            let mut meta = write.open_table(META).map_err(DiskError::from_redb)?;
            meta.insert(REVISION, revision)
                .map_err(DiskError::from_redb)?;
        }
        write.commit().map_err(DiskError::from_redb)
    }
}
