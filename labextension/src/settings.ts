/**
 * The settings of schema/plugin.json.
 */
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { Signal } from '@lumino/signaling';

/** What a person has set, or the defaults where settings cannot be loaded. */
export class Settings {
  readonly changed = new Signal<this, void>(this);

  get marks(): boolean {
    return this._get('marks') !== false;
  }

  get automatic(): boolean {
    return this._get('automatic') === true;
  }

  /** As they would stand on the line of `%%vjpcheck`. */
  get options(): string {
    const options = this._get('options');
    return typeof options === 'string' ? options.trim() : '';
  }

  /** Read the settings, and follow them. */
  async load(registry: ISettingRegistry, plugin: string): Promise<void> {
    this._settings = await registry.load(plugin);
    this._settings.changed.connect(() => {
      this.changed.emit();
    });
    this.changed.emit();
  }

  private _get(name: string): unknown {
    return this._settings?.get(name).composite;
  }

  private _settings: ISettingRegistry.ISettings | null = null;
}
