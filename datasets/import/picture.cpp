#include "datasets/import/picture.h"

#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "core/base/file.h"

namespace lockstep {
namespace {

constexpr std::size_t kHeaderBytes = 65536;

Picture decode(const std::string& file, std::string_view content, bool pixels) {
  if (is_png(content)) return decode_png(file, content, pixels);
  if (is_jpeg(content)) return decode_jpeg(file, content, pixels);
  bad_input(file, ": is neither a PNG nor a JPEG picture", content.empty() ? ": it is empty" : "");
}

// A place between two pixels along one axis.
struct Between {
  std::int64_t first = 0, second = 0;
  float share = 0;  // of the second
};

std::vector<Between> places(std::int64_t before, std::int64_t after) {
  std::vector<Between> out;
  const double scale = static_cast<double>(before) / static_cast<double>(after);
  for (std::int64_t i = 0; i < after; ++i) {
    const double at = (static_cast<double>(i) + 0.5) * scale - 0.5;
    const double inside = std::clamp(at, 0.0, static_cast<double>(before - 1));
    const auto first = static_cast<std::int64_t>(inside);
    out.push_back({first, std::min(first + 1, before - 1),
                   static_cast<float>(inside - static_cast<double>(first))});
  }
  return out;
}

}  // namespace

Picture decode_picture(const std::string& file, std::string_view content) {
  return decode(file, content, true);
}

PictureHeader picture_header(const std::string& file) {
  const ReadOnlyFile stored(file);
  const auto size = static_cast<std::size_t>(stored.size());
  std::string content(std::min(size, kHeaderBytes), '\0');
  stored.read(0, content.size(), content.data());
  Picture out;
  try {
    out = decode(file, content, false);
  } catch (const Error&) {
    // What stands before the header of a JPEG file may be long.
    if (content.size() == size) throw;
    content.resize(size);
    stored.read(0, size, content.data());
    out = decode(file, content, false);
  }
  return {out.height, out.width, out.channels};
}

Picture with_channels(Picture picture, std::int64_t channels) {
  if (picture.channels == channels) return picture;
  Picture out{picture.height, picture.width, channels, {}};
  const auto count = static_cast<std::size_t>(picture.height * picture.width);
  out.pixels.resize(count * static_cast<std::size_t>(channels));
  for (std::size_t i = 0; i < count; ++i) {
    if (channels == 3) {
      std::fill_n(out.pixels.begin() + static_cast<std::ptrdiff_t>(3 * i), 3, picture.pixels[i]);
      continue;
    }
    const std::uint8_t* rgb = picture.pixels.data() + 3 * i;
    // 0.299, 0.587 and 0.114 in parts of 2^16.
    const unsigned grey = 19595u * rgb[0] + 38470u * rgb[1] + 7471u * rgb[2] + 0x8000u;
    out.pixels[i] = static_cast<std::uint8_t>(grey >> 16);
  }
  return out;
}

Picture resized(const Picture& picture, std::int64_t height, std::int64_t width) {
  if (picture.height == height && picture.width == width) return picture;
  Picture out{height, width, picture.channels, {}};
  out.pixels.reserve(static_cast<std::size_t>(height * width * picture.channels));
  const std::vector<Between> columns = places(picture.width, width);
  for (const Between& row : places(picture.height, height)) {
    for (const Between& column : columns) {
      for (std::int64_t c = 0; c < picture.channels; ++c) {
        const auto pixel = [&](std::int64_t y, std::int64_t x) {
          return static_cast<float>(picture.pixels[static_cast<std::size_t>(
              (y * picture.width + x) * picture.channels + c)]);
        };
        const float above = pixel(row.first, column.first) * (1 - column.share) +
                            pixel(row.first, column.second) * column.share;
        const float below = pixel(row.second, column.first) * (1 - column.share) +
                            pixel(row.second, column.second) * column.share;
        const float value = above * (1 - row.share) + below * row.share;
        out.pixels.push_back(static_cast<std::uint8_t>(value + 0.5f));
      }
    }
  }
  return out;
}

}  // namespace lockstep
