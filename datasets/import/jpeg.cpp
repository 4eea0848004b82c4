// JPEG pictures by libjpeg. The library reports errors by a function that must not return: it
// jumps, so the functions that call it own nothing that has to be destroyed.
#include <csetjmp>
#include <cstddef>
#include <cstdio>
// jpeglib.h needs the two before it.
#include <jerror.h>
#include <jpeglib.h>

#include "core/base/error.h"
#include "datasets/import/picture.h"

namespace lockstep {
namespace {

constexpr int kMaxScans = 500;  // of a progressive picture; each costs time for all its pixels

// Owns what the library needs; outlives every jump. The library's structs come first, so that a
// pointer to one is a pointer to the whole.
struct Errors {
  jpeg_error_mgr base;
  std::jmp_buf back;
  char reason[JMSG_LENGTH_MAX] = "";
};

struct Reading {
  jpeg_decompress_struct jpeg{};
  Errors errors{};
  jpeg_progress_mgr progress{};
  bool made = false;

  ~Reading() {
    if (made) jpeg_destroy_decompress(&jpeg);
  }
};

[[noreturn]] void give_up(j_common_ptr jpeg) {
  auto* errors = reinterpret_cast<Errors*>(jpeg->err);
  if (errors->reason[0] == '\0') (*jpeg->err->format_message)(jpeg, errors->reason);
  std::longjmp(errors->back, 1);
}

[[noreturn]] void give_up(j_common_ptr jpeg, const char* reason) {
  auto* errors = reinterpret_cast<Errors*>(jpeg->err);
  std::snprintf(errors->reason, sizeof(errors->reason), "%s", reason);
  give_up(jpeg);
}

void fail(j_common_ptr jpeg) {
  give_up(jpeg);
}

// What the library only warns of leaves grey areas; bytes between markers do no harm.
void heed(j_common_ptr jpeg, int level) {
  if (level < 0 && jpeg->err->msg_code != JWRN_EXTRANEOUS_DATA) give_up(jpeg);
}

void count_scans(j_common_ptr jpeg) {
  const auto* reading = reinterpret_cast<j_decompress_ptr>(jpeg);
  if (reading->input_scan_number > kMaxScans) give_up(jpeg, "it has too many scans");
}

// False where `reason` says what went wrong.
bool read(Reading& reading, std::string_view content, Picture& out, bool pixels) {
  jpeg_decompress_struct& jpeg = reading.jpeg;
  if (setjmp(reading.errors.back) != 0) return false;
  jpeg_create_decompress(&jpeg);
  reading.made = true;
  reading.progress.progress_monitor = count_scans;
  jpeg.progress = &reading.progress;
  jpeg_mem_src(&jpeg, reinterpret_cast<const unsigned char*>(content.data()),
               static_cast<unsigned long>(content.size()));
  jpeg_read_header(&jpeg, TRUE);
  const auto any = reinterpret_cast<j_common_ptr>(&jpeg);
  if (jpeg.num_components != 1 && jpeg.num_components != 3)
    give_up(any, "it has neither 1 nor 3 channels (CMYK?); convert it to RGB");
  out.height = jpeg.image_height;
  out.width = jpeg.image_width;
  out.channels = jpeg.num_components;
  if (out.height * out.width > kMaxPicturePixels) give_up(any, "it has too many pixels");
  if (!pixels) return true;
  // A block of 64 pixels takes at least one bit.
  if (out.height * out.width / 512 > static_cast<std::int64_t>(content.size()))
    give_up(any, "its header claims more pixels than the file holds");
  jpeg.out_color_space = out.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_start_decompress(&jpeg);
  const auto row = static_cast<std::size_t>(out.width * out.channels);
  out.pixels.resize(row * static_cast<std::size_t>(out.height));
  while (jpeg.output_scanline < jpeg.output_height) {
    JSAMPROW to = out.pixels.data() + jpeg.output_scanline * row;
    jpeg_read_scanlines(&jpeg, &to, 1);
  }
  jpeg_finish_decompress(&jpeg);
  return true;
}

}  // namespace

bool is_jpeg(std::string_view content) {
  return content.starts_with("\xFF\xD8\xFF");
}

Picture decode_jpeg(const std::string& file, std::string_view content, bool pixels) {
  Reading reading;
  reading.jpeg.err = jpeg_std_error(&reading.errors.base);
  reading.errors.base.error_exit = fail;
  reading.errors.base.emit_message = heed;
  Picture out;
  if (!read(reading, content, out, pixels))
    bad_input(file, ": this JPEG picture cannot be read: ", reading.errors.reason);
  return out;
}

}  // namespace lockstep
