// One rank's part of a checkpoint: an HDF5 file of tensors and slices of tensors.
//
//   part = { dataset "<kind>/<name>" }
//     kind = "parameters" | "statistics" | a moment of the optimizer ("m", "v", "momentum", ...)
//     f32; a whole tensor has its shape and no attributes. A slice of a tensor, flattened row-major, is a vector with
//     attributes "offset" (integer: its first element there) and "shape" (integers: of the whole tensor).
//
// Slices are addressed by name and offset, never by rank or bucket: so a checkpoint loads with any number of workers
// and any size of buckets. Numbers are stored contiguous and not compressed (they hardly shrink), in the byte order of
// the machine.
#pragma once

#include <string>
#include <vector>

#include "core/base/file.h"
#include "launcher/checkpoint/manifest.h"
#include "launcher/checkpoint/tensor_slice.h"

namespace lockstep {

// Writes `slices` to `path`, beside it first, synced; reads it back from the disk, compares it with the memory, and
// gives it its name. Throws where the disk fails, or gives back other bytes.
PartEntry write_part(const std::string& path, const std::vector<TensorSlice>& slices, const FileSystem& files);

// Throws bad_input naming the part where it is missing, or its size or checksum is not what the manifest says.
void verify_part(const std::string& checkpoint, const PartEntry& part);

}  // namespace lockstep
