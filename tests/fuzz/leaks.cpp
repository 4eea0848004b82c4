// What the HDF5 library does not give back when it refuses a damaged file is no finding. The leak
// sanitizer asks for this function by its name.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libhdf5";
}
