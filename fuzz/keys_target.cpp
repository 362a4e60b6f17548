// Key encodings of arbitrary values: within their buffer, the same size in any buffer, and order as the values have it.
#include <algorithm>
#include <cstring>

#include "core/key_encoding.h"
#include "fuzz/target.h"

namespace concord::fuzz {
namespace {

constexpr size_t kRoom = 64;

// Encodes into `capacity` bytes with a guard behind; the full size.
size_t Encode(unsigned kind, std::string_view value, size_t capacity, uint8_t* out) {
  KeyWriter key(out, 0, capacity);
  Reader reader(value);
  switch (kind) {
    case 0: EncodeNumeric(&key, value.data(), value.size()); break;
    case 1: EncodeBytes(&key, value.data(), value.size()); break;
    case 2: EncodeBlankPadded(&key, value.data(), value.size()); break;
    case 3: EncodeBits(&key, value.data(), value.size() * 8); break;
    case 4:
      EncodeInterval(&key, static_cast<int32_t>(reader.Number(4)), static_cast<int32_t>(reader.Number(4)),
                     static_cast<int64_t>(reader.Number(8)));
      break;
    case 5: EncodeTimeTz(&key, static_cast<int64_t>(reader.Number(8)), static_cast<int32_t>(reader.Number(4))); break;
    case 6: {
      char address[16] = {};
      const auto family = static_cast<uint8_t>(2 + reader.Number(1) % 2);
      const auto bits = static_cast<uint8_t>(reader.Number(1) % (family == 2 ? 33 : 129));
      const std::string_view bytes = reader.Bytes(sizeof address);
      memcpy(address, bytes.data(), bytes.size());
      EncodeNetwork(&key, family, bits, address);
      break;
    }
    default: {
      double number;
      const uint64_t bits = reader.Number(8);
      memcpy(&number, &bits, sizeof number);
      EncodeFloat8(&key, number);
      EncodeFloat4(&key, static_cast<float>(number));
      key.Invert(0);
    }
  }
  return key.size();
}

void Run(std::string_view input) {
  Reader reader(input);
  const auto kind = static_cast<unsigned>(reader.Number(1) % 8);
  const size_t capacity = reader.Number(1) % kRoom;
  const std::string value(reader.Rest());  // a copy, so that a sanitizer sees reads past the end
  uint8_t small[kRoom + 8];
  memset(small, 0xA5, sizeof small);
  const size_t size = Encode(kind, value, capacity, small);
  for (size_t i = capacity; i < sizeof small; i++) Require(small[i] == 0xA5, "written past the buffer");
  std::string large(size, '\0');
  Require(Encode(kind, value, size, reinterpret_cast<uint8_t*>(large.data())) == size,
          "another size in another buffer");
  Require(memcmp(large.data(), small, std::min(size, capacity)) == 0, "what did not fit is not a prefix");
  if (kind != 1) return;
  // Of two strings the encodings compare as they do.
  const std::string_view left = std::string_view(value).substr(0, value.size() / 2);
  const std::string_view right = std::string_view(value).substr(value.size() / 2);
  std::string left_key(2 * left.size() + 2, '\0'), right_key(2 * right.size() + 2, '\0');
  left_key.resize(Encode(1, left, left_key.size(), reinterpret_cast<uint8_t*>(left_key.data())));
  right_key.resize(Encode(1, right, right_key.size(), reinterpret_cast<uint8_t*>(right_key.data())));
  Require((left < right) == (left_key < right_key) && (left == right) == (left_key == right_key), "another order");
}

std::vector<std::string> Seeds() {
  using namespace std::string_literals;
  std::vector<std::string> seeds;
  for (char kind = 0; kind < 8; kind++) {
    seeds.push_back(kind + "\x20\x00\x00\x00\x00\x00"s);
    seeds.push_back(kind + "\x05\x00\x81\x02\x00\x10\x27\x01"s);
    seeds.push_back(kind + "\x30text \x00\xff and   "s);
  }
  return seeds;
}

}  // namespace

const Target kKeys = {"keys", Run, Seeds};

}  // namespace concord::fuzz
