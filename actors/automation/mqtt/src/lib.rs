//! The bridge to an MQTT broker: one persistent session for the whole cluster, acknowledged when what follows is kept.
