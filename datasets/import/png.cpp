// PNG pictures by libpng. The library reports errors by longjmp, so the functions that call it own
// nothing that has to be destroyed.
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "core/base/error.h"
#include "datasets/import/picture.h"

namespace lockstep {
namespace {

// Owns what the library needs; outlives every jump.
struct Reading {
  std::string_view content;
  std::size_t at = 0;
  char reason[160] = "";
  png_structp png = nullptr;
  png_infop header = nullptr;
  std::vector<png_bytep> rows;

  ~Reading() { png_destroy_read_struct(&png, &header, nullptr); }
};

void fail(png_structp png, png_const_charp reason) {
  auto* reading = static_cast<Reading*>(png_get_error_ptr(png));
  std::snprintf(reading->reason, sizeof(reading->reason), "%s", reason);
  png_longjmp(png, 1);
}

void ignore(png_structp, png_const_charp) {}

void take(png_structp png, png_bytep to, std::size_t bytes) {
  auto* reading = static_cast<Reading*>(png_get_io_ptr(png));
  if (bytes > reading->content.size() - reading->at) png_error(png, "it is truncated");
  std::memcpy(to, reading->content.data() + reading->at, bytes);
  reading->at += bytes;
}

// False where `reason` says what went wrong.
bool read(Reading& reading, Picture& out, bool pixels) {
  if (setjmp(png_jmpbuf(reading.png)) != 0) return false;
  png_set_read_fn(reading.png, &reading, take);
  png_set_user_limits(reading.png, 1u << 24, 1u << 24);
  png_set_chunk_malloc_max(reading.png, 8u << 20);
  png_read_info(reading.png, reading.header);
  out.height = png_get_image_height(reading.png, reading.header);
  out.width = png_get_image_width(reading.png, reading.header);
  const int kind = png_get_color_type(reading.png, reading.header);
  out.channels = (kind & PNG_COLOR_MASK_COLOR) != 0 ? 3 : 1;
  if (out.height * out.width > kMaxPicturePixels) png_error(reading.png, "it has too many pixels");
  if (!pixels) return true;
  // Deflate makes at most 1032 bytes of one.
  const std::size_t row_bytes = png_get_rowbytes(reading.png, reading.header);
  if (row_bytes * static_cast<std::size_t>(out.height) / 1032 > reading.content.size())
    png_error(reading.png, "its header claims more pixels than the file holds");

  if (kind == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(reading.png);
  if (kind == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(reading.png);
  png_set_scale_16(reading.png);
  png_set_strip_alpha(reading.png);
  png_set_interlace_handling(reading.png);
  png_read_update_info(reading.png, reading.header);
  const auto row = static_cast<std::size_t>(out.width * out.channels);
  if (png_get_rowbytes(reading.png, reading.header) != row)
    png_error(reading.png, "its kind is not known");
  out.pixels.resize(row * static_cast<std::size_t>(out.height));
  reading.rows.resize(static_cast<std::size_t>(out.height));
  for (std::size_t y = 0; y < reading.rows.size(); ++y)
    reading.rows[y] = out.pixels.data() + y * row;
  png_read_image(reading.png, reading.rows.data());
  png_read_end(reading.png, nullptr);
  return true;
}

}  // namespace

bool is_png(std::string_view content) {
  return content.starts_with("\x89PNG\r\n\x1a\n");
}

Picture decode_png(const std::string& file, std::string_view content, bool pixels) {
  Reading reading;
  reading.content = content;
  Picture out;
  reading.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reading, fail, ignore);
  if (reading.png != nullptr) reading.header = png_create_info_struct(reading.png);
  if (reading.header == nullptr) environment_failed(file, ": libpng: no memory");
  if (!read(reading, out, pixels))
    bad_input(file, ": this PNG picture cannot be read: ", reading.reason);
  return out;
}

}  // namespace lockstep
