// CRC-32C (Castagnoli), as in RFC 3720; the processor's instruction where it has one, a table elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace concord {

// Continues `crc` (0 to begin) over the bytes.
uint32_t Crc32c(uint32_t crc, const void* data, size_t size);
inline uint32_t Crc32c(std::string_view bytes) { return Crc32c(0, bytes.data(), bytes.size()); }

}  // namespace concord
