// Pictures of 8 bits a channel, read from PNG and JPEG files: the one home of libpng and libjpeg.
// Errors are bad_input that name the file and give the library's reason on one line.
//
//   PNG    all kinds; palettes become colours, 16 bits are scaled to 8, transparency is dropped
//   JPEG   grey and colour, sequential and progressive; CMYK is refused. Rotation (EXIF) is not
//   applied
//
// A header that claims more pixels than the file can hold, or more than 2^27, is refused before
// anything is taken for them. All functions may be called from any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lockstep {

struct Picture {
  std::int64_t height = 0, width = 0;
  std::int64_t channels = 1;         // 1: grey, 3: red, green, blue
  std::vector<std::uint8_t> pixels;  // (height, width, channels)
};

struct PictureHeader {
  std::int64_t height = 0, width = 0;
  std::int64_t channels = 1;
};

// The picture in the file of that content; its kind is told by its first bytes.
Picture decode_picture(const std::string& file, std::string_view content);

// What the file of that path says about its picture. Reads no more than it must.
PictureHeader picture_header(const std::string& file);

// Grey as the weighted sum of ITU-R BT.601, rounded; colour as three times the grey.
Picture with_channels(Picture picture, std::int64_t channels);

// Bilinear: the value at the middle of each new pixel between the middles of the four old ones
// around it, rounded. Beyond the border lies the border.
Picture resized(const Picture& picture, std::int64_t height, std::int64_t width);

// ---- Each format by itself.

inline constexpr std::int64_t kMaxPicturePixels = std::int64_t{1} << 27;

bool is_png(std::string_view content);
bool is_jpeg(std::string_view content);
// The picture where `pixels`, else its header alone.
Picture decode_png(const std::string& file, std::string_view content, bool pixels);
Picture decode_jpeg(const std::string& file, std::string_view content, bool pixels);

}  // namespace lockstep
