// SelfTest - the smallest complete use of the model: one inference whose result is known beforehand.
#include <nanou_model.h>

static uint8_t arena[NANOU_ARENA_BYTES] __attribute__((aligned(NANOU_ARENA_ALIGNMENT_BYTES)));
static nanou_t net;

void setup() {
    Serial.begin(115200);
    nanou_status_t status = nanou_init(&net, arena, sizeof arena);
    if (status == NANOU_OK) {
        nanou_golden_input(nanou_input(&net));
        status = nanou_invoke(&net);
    }
    if (status != NANOU_OK) {
        Serial.print("self-test failed: ");
        Serial.println(nanou_status_text(status));
        return;
    }
    const uint32_t crc32 = nanou_crc32(nanou_output(&net), NANOU_OUTPUT_BYTES);
    Serial.print("model " NANOU_MODEL_NAME " (" NANOU_RUNTIME "), output CRC-32 ");
    Serial.print(crc32, HEX);
    Serial.print(", expected ");
    Serial.print(NANOU_GOLDEN_CRC32, HEX);
    Serial.println(crc32 == NANOU_GOLDEN_CRC32 ? ": equal" : ": NOT EQUAL");
}

void loop() {
}
