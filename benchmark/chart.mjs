export const draw = () => ''
