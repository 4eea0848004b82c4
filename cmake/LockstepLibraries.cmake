# The outside libraries, all from the distribution's packages (see scripts/setup).
set(HDF5_PREFER_PARALLEL FALSE)
find_package(HDF5 REQUIRED COMPONENTS C)
if(HDF5_IS_PARALLEL)
  message(FATAL_ERROR "Lockstep needs the serial HDF5 (libhdf5-dev); CMake found a parallel one")
endif()
add_library(lockstep_hdf5 INTERFACE)
target_include_directories(lockstep_hdf5 INTERFACE ${HDF5_INCLUDE_DIRS})
target_link_libraries(lockstep_hdf5 INTERFACE ${HDF5_LIBRARIES})

find_package(MPI REQUIRED COMPONENTS C)
find_package(Boost REQUIRED COMPONENTS program_options)
find_package(nlohmann_json REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)

# oneDNN. Its package file on Debian 12 wants OpenCL headers that dnnl.hpp does not need, so it is found by
# its header and its library.
find_path(DNNL_INCLUDE_DIR dnnl.hpp REQUIRED)
find_library(DNNL_LIBRARY dnnl REQUIRED)
add_library(lockstep_dnnl INTERFACE)
target_include_directories(lockstep_dnnl SYSTEM INTERFACE ${DNNL_INCLUDE_DIR})
target_link_libraries(lockstep_dnnl INTERFACE ${DNNL_LIBRARY})

find_path(XXHASH_INCLUDE_DIR xxhash.h REQUIRED)
find_library(XXHASH_LIBRARY xxhash REQUIRED)
add_library(lockstep_xxhash INTERFACE)
target_include_directories(lockstep_xxhash SYSTEM INTERFACE ${XXHASH_INCLUDE_DIR})
target_link_libraries(lockstep_xxhash INTERFACE ${XXHASH_LIBRARY})

find_path(DEFLATE_INCLUDE_DIR libdeflate.h REQUIRED)
find_library(DEFLATE_LIBRARY deflate REQUIRED)
add_library(lockstep_deflate INTERFACE)
target_include_directories(lockstep_deflate SYSTEM INTERFACE ${DEFLATE_INCLUDE_DIR})
target_link_libraries(lockstep_deflate INTERFACE ${DEFLATE_LIBRARY})

find_path(ZLIB_INCLUDE_DIR zlib.h REQUIRED)
find_library(ZLIB_LIBRARY z REQUIRED)
add_library(lockstep_zlib INTERFACE)
target_include_directories(lockstep_zlib SYSTEM INTERFACE ${ZLIB_INCLUDE_DIR})
target_link_libraries(lockstep_zlib INTERFACE ${ZLIB_LIBRARY})

# libzip. Its package file on Debian 12 wants programs that belong to another package.
find_path(ZIP_INCLUDE_DIR zip.h REQUIRED)
find_library(ZIP_LIBRARY zip REQUIRED)
add_library(lockstep_zip INTERFACE)
target_include_directories(lockstep_zip SYSTEM INTERFACE ${ZIP_INCLUDE_DIR})
target_link_libraries(lockstep_zip INTERFACE ${ZIP_LIBRARY})

find_path(PNG_INCLUDE_DIR png.h REQUIRED)
find_library(PNG_LIBRARY png REQUIRED)
find_path(JPEG_INCLUDE_DIR jpeglib.h REQUIRED)
find_library(JPEG_LIBRARY jpeg REQUIRED)
add_library(lockstep_pictures INTERFACE)
target_include_directories(lockstep_pictures SYSTEM INTERFACE ${PNG_INCLUDE_DIR} ${JPEG_INCLUDE_DIR})
target_link_libraries(lockstep_pictures INTERFACE ${PNG_LIBRARY} ${JPEG_LIBRARY})

# ONNX. Its package file wants Protobuf's to be read before, and its targets are named just "onnx".
find_path(ONNX_INCLUDE_DIR onnx/onnx_pb.h REQUIRED)
find_library(ONNX_LIBRARY onnx REQUIRED)
find_library(ONNX_PROTO_LIBRARY onnx_proto REQUIRED)
find_library(PROTOBUF_LIBRARY protobuf REQUIRED)
add_library(lockstep_onnx INTERFACE)
target_include_directories(lockstep_onnx SYSTEM INTERFACE ${ONNX_INCLUDE_DIR})
target_compile_definitions(lockstep_onnx INTERFACE ONNX_NAMESPACE=onnx ONNX_ML=1)
target_link_libraries(lockstep_onnx INTERFACE ${ONNX_LIBRARY} ${ONNX_PROTO_LIBRARY} ${PROTOBUF_LIBRARY})
