//! Small versions of pictures, made one at a time by a thread that gives way to all others.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use tandem_web::files::Part;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::folder::Folder;
use crate::store::Store;

/// Longest side.
const SIDE: u32 = 320;
/// Pixels of a picture that is looked at: 50 megapixels.
const MAX_PIXELS: u64 = 50_000_000;
/// Longest side of a picture that is looked at.
const MAX_SIDE: u32 = 20_000;
/// Bytes its decoder may hold.
const MAX_MEMORY: u64 = 256 * 1024 * 1024;
/// Pictures that wait; those beyond get no thumbnail.
const QUEUE: usize = 1_024;
/// How much the thread gives way (`nice`).
const NICE: i32 = 19;
const JPEG_QUALITY: u8 = 80;

/// Orders thumbnails. Cheap to clone.
#[derive(Clone)]
pub(super) struct Thumbnailer(mpsc::Sender<String>);

impl Thumbnailer {
    /// Starts the thread, which ends when nobody can order any more.
    pub(super) fn start(store: Store, folder: Folder) -> io::Result<Self> {
        let (orders, mut queue) = mpsc::channel::<String>(QUEUE);
        let runtime = Handle::current();
        std::thread::Builder::new().name("thumbnails".into()).spawn(move || {
            // On Linux this is the priority of the calling thread alone.
            if let Err(error) = rustix::process::setpriority_process(None, NICE) {
                tracing::warn!(%error, "thumbnails are made at the usual priority");
            }
            while let Some(id) = queue.blocking_recv() {
                let paths = (folder.path(&id, Part::File), folder.path(&id, Part::Thumbnail));
                // A decoder that meets what it did not expect must not end the thread.
                let made = catch_unwind(AssertUnwindSafe(|| make(&paths.0, &paths.1)));
                match made {
                    Ok(Ok(kind)) => {
                        let noted = runtime.block_on(store.upload_has_thumbnail(&id, kind));
                        if let Err(error) = noted {
                            tracing::warn!(%error, "a thumbnail is not noted");
                        }
                    }
                    Ok(Err(error)) => tracing::debug!(%error, "no thumbnail can be made"),
                    Err(_) => tracing::warn!("a picture made its decoder panic"),
                }
            }
        })?;
        Ok(Self(orders))
    }

    /// Asks for the thumbnail of a stored picture.
    pub(super) fn order(&self, id: String) {
        if self.0.try_send(id).is_err() {
            tracing::warn!("too many pictures wait for their thumbnail, one gets none");
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ThumbnailFault {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Image(#[from] image::ImageError),
    #[error("too many pixels")]
    TooLarge,
}

/// Makes a thumbnail beside the picture and gives its media type.
fn make(picture: &Path, thumbnail: &Path) -> Result<&'static str, ThumbnailFault> {
    let (bytes, kind) = shrink(picture)?;
    let draft = thumbnail.with_extension("draft");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    std::fs::rename(&draft, thumbnail)?;
    Ok(kind)
}

fn shrink(picture: &Path) -> Result<(Vec<u8>, &'static str), ThumbnailFault> {
    let mut reader =
        ImageReader::new(BufReader::new(File::open(picture)?)).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_MEMORY);
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS || decoder.total_bytes() > MAX_MEMORY {
        return Err(ThumbnailFault::TooLarge);
    }
    // Cameras store pictures as the sensor lay and say how to turn them; the thumbnail says nothing, so it is turned.
    // What else they say (place, time, camera) stays behind.
    let orientation = decoder.orientation()?;
    let mut small = DynamicImage::from_decoder(decoder)?;
    if width > SIDE || height > SIDE {
        small = small.thumbnail(SIDE, SIDE);
    }
    small.apply_orientation(orientation);
    let mut bytes = io::Cursor::new(Vec::new());
    if small.color().has_alpha() {
        DynamicImage::from(small.to_rgba8()).write_to(&mut bytes, ImageFormat::Png)?;
        return Ok((bytes.into_inner(), "image/png"));
    }
    small.to_rgb8().write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY))?;
    Ok((bytes.into_inner(), "image/jpeg"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32, format: ImageFormat) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let image =
            DynamicImage::from(image::RgbImage::from_pixel(width, height, [200, 30, 30].into()));
        image.save_with_format(file.path(), format).unwrap();
        file
    }

    #[test]
    fn pictures_of_each_kind_get_small_and_keep_their_shape() {
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
            let file = picture(1000, 500, format);
            let (bytes, kind) = shrink(file.path()).unwrap();
            let small = image::load_from_memory(&bytes).unwrap();
            assert_eq!(
                (small.width(), small.height(), kind),
                (320, 160, "image/jpeg"),
                "{format:?}"
            );
        }
    }

    #[test]
    fn a_small_file_that_claims_to_be_a_huge_picture_is_refused_before_memory_is_taken() {
        // A PNG header for 20,000 by 20,000 pixels.
        let file = picture(1, 1, ImageFormat::Png);
        let mut bytes = std::fs::read(file.path()).unwrap();
        bytes[16..20].copy_from_slice(&20_000_u32.to_be_bytes());
        bytes[20..24].copy_from_slice(&20_000_u32.to_be_bytes());
        let crc = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.to_be_bytes());
        std::fs::write(file.path(), bytes).unwrap();
        assert!(matches!(shrink(file.path()), Err(ThumbnailFault::TooLarge)));
        std::fs::write(file.path(), b"GIF89a no picture").unwrap();
        assert!(shrink(file.path()).is_err());
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0_u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
            })
        })
    }
}
