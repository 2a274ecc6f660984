"""Every way a picture can come, and what it must look like to the network."""

import io
import pathlib
import re
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from modalsplit.featurize._base import BadItemError
from modalsplit.featurize._decode import read_image

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def encoded(image, file_format="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def gradient(dtype, top):
    return np.linspace(0, top, 256).astype(dtype).reshape(16, 16)


@pytest.fixture
def red():
    return Image.new("RGB", (4, 3), RED)


def test_paths_bytes_images_and_arrays_give_the_same_picture(red, tmp_path):
    path = tmp_path / "red.png"
    red.save(path)
    ways = [path, str(path), path.read_bytes(), bytearray(path.read_bytes()), red, np.asarray(red)]
    assert {read_image(way).tobytes() for way in ways} == {red.tobytes()}


def test_a_home_folder_is_found(red, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    red.save(tmp_path / "red.png")
    assert read_image("~/red.png").getpixel((0, 0)) == RED


def test_no_file_stays_open(red, tmp_path):
    path = tmp_path / "red.png"
    red.save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        read_image(path)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV", "RGBX", "LA", "PA", "RGBA", "RGBa"])
def test_every_mode_becomes_rgb(mode, red):
    through = {"PA": "P", "RGBa": "RGBA", "HSV": "RGB"}.get(mode)
    image = (red.convert(through) if through else red).convert(mode)
    decoded = read_image(image)
    assert decoded.mode == "RGB"
    if mode not in ("1", "L", "LA"):
        np.testing.assert_allclose(decoded.getpixel((0, 0)), RED, atol=2)


def test_exif_orientation_is_applied():
    image = Image.new("RGB", (2, 1), RED)
    image.putpixel((1, 0), GREEN)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to view
    decoded = read_image(encoded(image, exif=exif))
    assert decoded.size == (1, 2)
    assert decoded.getpixel((0, 0)) == RED


def test_transparent_pixels_are_white_whatever_colour_they_hide():
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    image.putpixel((1, 0), (255, 0, 0, 128))
    decoded = read_image(encoded(image))
    assert decoded.getpixel((0, 0)) == WHITE
    np.testing.assert_allclose(decoded.getpixel((1, 0)), (255, 127, 127), atol=1)


@pytest.mark.parametrize("transparency", [0, bytes([0, 255])])
def test_a_palette_may_have_a_transparent_colour(transparency):
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *GREEN])
    image.putpixel((1, 0), 1)
    decoded = read_image(encoded(image, transparency=transparency))
    assert [decoded.getpixel((x, 0)) for x in (0, 1)] == [WHITE, GREEN]


@pytest.mark.parametrize(
    ("array", "white"),
    [
        (gradient(np.uint16, 65535), 65535),
        (gradient(np.int32, 65535), 65535),
        (gradient(np.int32, 255), 255),
        (gradient(np.float32, 255), 255),
        (gradient(np.float32, 1), 1),
    ],
)
def test_deep_pictures_are_scaled_and_not_clipped_to_white(array, white):
    decoded = np.asarray(read_image(Image.fromarray(array)))
    np.testing.assert_allclose(decoded[:, :, 0], array / white * 255, atol=0.51)


def test_a_16_bit_png_is_scaled():
    array = gradient(np.uint16, 65535)
    decoded = np.asarray(read_image(encoded(Image.fromarray(array))))
    np.testing.assert_allclose(decoded[:, :, 0], array / 257, atol=0.51)


@pytest.mark.parametrize("value", [-1.0, 1e6, np.nan])
def test_a_float_picture_without_a_clear_white_is_refused(value):
    array = gradient(np.float32, 255)
    array[0, 0] = value
    with pytest.raises(ValueError, match="cannot tell black from white"):
        read_image(Image.fromarray(array))


def test_an_animation_is_its_first_frame(red):
    data = encoded(red, "GIF", save_all=True, append_images=[Image.new("RGB", red.size, GREEN)])
    assert read_image(data).getpixel((0, 0)) == RED


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 1), (4, 3, 3), (4, 3, 4)])
def test_grey_colour_and_transparent_arrays_are_read(shape):
    decoded = read_image(np.full(shape, 255, dtype=np.uint8))
    assert (decoded.mode, decoded.size, decoded.getpixel((0, 0))) == ("RGB", (3, 4), WHITE)


@pytest.mark.parametrize(
    "array",
    [
        np.ones((4, 3, 3)),
        np.zeros((4, 3, 2), np.uint8),
        np.zeros((3,), np.uint8),
        np.zeros((0, 3, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused_with_their_type_and_shape(array):
    with pytest.raises(ValueError, match=r"must be uint8"):
        read_image(array)


def test_a_given_picture_is_not_changed():
    image = Image.new("RGBA", (2, 2), (9, 9, 9, 0))
    before = image.tobytes()
    read_image(image)
    assert (image.mode, image.tobytes()) == ("RGBA", before)


@pytest.mark.parametrize(
    ("data", "complaint", "mend"),
    [
        (b"", "it is empty: 0 bytes", "Download or copy it again"),
        (b"<html>not found</html>", "it is a web page", "download the picture itself"),
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "it is an SVG drawing", "Render it"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer", "git lfs pull"),
        (b"%PDF-1.7 ...", "it is a PDF", "Render its page"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "it is HEIC", "Convert it to JPEG"),
        (b"once upon a time", "it is no picture: it begins with b'once upon", "again"),
        (encoded(Image.effect_noise((64, 64), 50), "JPEG")[:900], "cut off, corrupt or closed", "again"),
        (encoded(Image.effect_noise((64, 64), 50), "PNG")[:900], "cut off, corrupt or closed", "again"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "it is no picture: it begins with", "again"),
    ],
    ids=["empty", "html", "svg", "lfs", "pdf", "heic", "text", "cut jpeg", "cut png", "broken png"],
)
def test_broken_data_is_described_by_its_cause_and_mend(data, complaint, mend):
    with pytest.raises(BadItemError) as caught:
        read_image(data)
    assert re.search(complaint, caught.value.reason)
    assert mend in caught.value.mend


def test_a_cut_off_picture_that_is_open_already_is_refused_too():
    data = encoded(Image.effect_noise((64, 64), 50), "JPEG")[:900]
    with Image.open(io.BytesIO(data)) as image, pytest.raises(BadItemError, match="cut off, corrupt or closed"):
        read_image(image)


def test_a_closed_picture_is_refused(red):
    image = Image.open(io.BytesIO(encoded(red)))
    image.close()
    with pytest.raises(BadItemError, match=r"closed image\)\. Open it again, or give the path of its file"):
        read_image(image)


def png_of_nothing(width, height):
    """A PNG of a few bytes that says how large it is."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused():
    with pytest.raises(BadItemError, match=r"it is a decompression bomb \(Image size \(400000000.*MAX_IMAGE_PIXELS"):
        read_image(png_of_nothing(20_000, 20_000))


def test_pillow_warns_of_a_picture_that_could_be_a_bomb(red, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.warns(Image.DecompressionBombWarning):
        assert read_image(encoded(red)).tobytes() == red.tobytes()


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(BadItemError, match=r"no file .*gone\.jpg.*Correct the path; a relative one starts at"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(BadItemError, match="is a folder"):
        read_image(tmp_path)


@pytest.mark.parametrize("url", ["https://example.org/a.jpg", "HTTP://example.org/a.jpg", "s3://bucket/a.jpg"])
def test_a_picture_on_the_web_is_not_fetched(url):
    with pytest.raises(BadItemError, match=rf"'{url}' is on the web\. Download it first"):
        read_image(url)


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "~no-such-user/a.jpg", "file://[::/a.jpg"])
def test_what_cannot_be_a_path_is_refused(path):
    with pytest.raises(BadItemError, match=r"cannot be read \(.*Check that it is the path of a file"):
        read_image(path)


@pytest.mark.parametrize("path", ["", "  "])
def test_a_blank_path_is_a_missing_picture(path):
    with pytest.raises(BadItemError, match="there is none") as caught:
        read_image(path)
    assert caught.value.is_missing


def test_a_file_that_may_not_be_read_is_named(red, tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "read_bytes", refuse)  # root may read everything
    with pytest.raises(BadItemError, match=r"red\.png' may not be read\. Change its permissions"):
        read_image(tmp_path / "red.png")


def test_a_file_url_is_a_path(red, tmp_path):
    path = tmp_path / "a red one.png"
    red.save(path)
    assert read_image(path.as_uri()).tobytes() == red.tobytes()


def test_what_is_no_picture_is_refused():
    with pytest.raises(BadItemError, match=r"it is no picture but of type int\. Give a path"):
        read_image(3)


def test_one_by_one_and_very_long_pictures_are_read():
    for size in [(1, 1), (5000, 3)]:
        assert read_image(encoded(Image.new("RGB", size, RED))).size == size
