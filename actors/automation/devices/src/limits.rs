//! Every bound of this crate. What is beyond one is refused with a stated problem; nothing that comes from a broker can make
//! a node hold more than these say.

/// Largest discovery message, in bytes.
pub const MAX_DISCOVERY_BYTES: usize = 64 * 1024;

/// Largest list of devices from a Zigbee2MQTT bridge, in bytes: some 150 devices of it come to one megabyte.
pub const MAX_BRIDGE_BYTES: usize = 4 * 1024 * 1024;

/// Largest message that is a state, in bytes. Home Assistant's own limit for attributes is a quarter of it.
pub const MAX_STATE_BYTES: usize = 64 * 1024;

/// Longest state, in characters, as in Home Assistant.
pub const MAX_STATE_CHARS: usize = 255;

/// Attributes of an entity, its own and those of its `json_attributes_topic` together.
pub const MAX_ATTRIBUTES: usize = 256;

/// Text of all attributes of an entity, in bytes.
pub const MAX_ATTRIBUTES_BYTES: usize = 16 * 1024;

/// Longest topic, in bytes. MQTT allows 65,535.
pub const MAX_TOPIC_BYTES: usize = 1_024;

/// Longest template, in bytes.
pub const MAX_TEMPLATE_BYTES: usize = 8 * 1024;

/// What one entity's discovery may come to, in bytes, once abbreviations are written out.
pub const MAX_CONFIG_BYTES: usize = 32 * 1024;

/// What all entities' discovery may come to, in bytes.
pub const MAX_CONFIGS_BYTES: usize = 48 * 1024 * 1024;

/// Entities.
pub const MAX_ENTITIES: usize = 10_000;

/// Devices.
pub const MAX_DEVICES: usize = 2_000;

/// Entities of one device-based discovery message, or of one bare device.
pub const MAX_COMPONENTS: usize = 256;

/// Availability topics of an entity.
pub const MAX_AVAILABILITY: usize = 16;

/// Entries of a list in discovery: options, modes, effects.
pub const MAX_LIST: usize = 512;

/// Identifiers and connections of a device.
pub const MAX_IDENTIFIERS: usize = 32;

/// Longest name or id, in bytes.
pub const MAX_NAME_BYTES: usize = 256;

/// Topics with wildcards that entities listen to. Each is compared with every message.
pub const MAX_WILDCARDS: usize = 64;

/// Problems that are remembered; the oldest give way.
pub const MAX_PROBLEMS: usize = 200;

/// How much of a topic or payload a problem quotes, in characters.
pub const QUOTED_CHARS: usize = 120;

/// How much of what a template fails by a problem tells, in characters.
pub const MAX_WHY_CHARS: usize = 300;

/// Areas.
pub const MAX_AREAS: usize = 256;

/// Groups that people made.
pub const MAX_GROUPS: usize = 256;

/// Members of a group.
pub const MAX_GROUP_MEMBERS: usize = 512;

/// Labels of an entity or device.
pub const MAX_LABELS: usize = 32;

/// Aliases of an area, entity or device.
pub const MAX_ALIASES: usize = 16;

/// What people set for entities and devices, which outlives the devices themselves.
pub const MAX_ASSIGNMENTS: usize = 12_000;

/// Bare Tasmota devices.
pub const MAX_TASMOTA: usize = 500;

/// Entities that one service call may reach.
pub const MAX_TARGETS: usize = 2_000;

/// Longest payload that a service call may publish, in bytes.
pub const MAX_PUBLISH_BYTES: usize = 256 * 1024;

/// Longest text that is looked through for devices' names, in characters.
pub const MAX_SPOKEN_CHARS: usize = 300;
